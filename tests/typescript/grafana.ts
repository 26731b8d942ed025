// What a dashboard may hold: Grafana's own types, with enums as the values they have in JSON.

import type { Dashboard, FieldConfigSource, GraphFieldConfig, Panel, RowPanel, TableFieldOptions } from '@grafana/schema';
import type { Options as BarGauge } from './node_modules/@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type { Options as Stat } from './node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as Table } from './node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { Options as TimeSeries } from './node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

type Plain<T> = T extends string
  ? string extends T ? string : `${T}`
  : T extends number
    ? number extends T ? number : `${T}` extends `${infer N extends number}` ? N : never
    : T extends boolean | null | undefined
      ? T
      : T extends Array<infer E>
        ? Array<Plain<E>>
        : unknown extends T
          ? unknown
          : { [K in keyof T]: Plain<T[K]> };

// What a target says: the Prometheus query of Grafana's own plugin, and the JSON query of the Infinity plugin (2.x, 3.x).
interface Asked { refId: string; datasource: { type: string; uid: string } }
interface Live extends Asked { expr: string; legendFormat: string; range: boolean; instant: boolean; exemplar?: boolean }
interface Column { selector: string; text: string; type: 'string' | 'number' | 'timestamp' | 'timestamp_epoch' | 'timestamp_epoch_s' }
interface Rest extends Asked {
  type: 'json';
  source: 'url';
  parser: 'backend';
  format: 'table' | 'timeseries';
  url: string;
  url_options: { method: 'GET'; params: Array<{ key: string; value: string }> };
  root_selector: string;
  columns: Column[];
  filters: [];
}

type Bare = Omit<Plain<Panel>, 'options' | 'targets' | 'fieldConfig' | 'type'>;
type Config<T> = Plain<FieldConfigSource<Partial<T>>>;

// What a file leaves out is as Grafana has it by default.
interface Drawn<Kind extends string, Options, Custom> extends Bare {
  type: Kind;
  options: Plain<Partial<Options>>;
  fieldConfig: Config<Custom>;
  targets: Array<Live | Rest>;
}

type AnyPanel =
  | Drawn<'stat', Stat, object>
  | Drawn<'bargauge', BarGauge, object>
  | Drawn<'table', Table, TableFieldOptions>
  | Drawn<'timeseries', TimeSeries, GraphFieldConfig>
  | Plain<RowPanel>;

export type Told = Omit<Plain<Dashboard>, 'panels'> & { panels: AnyPanel[] };
