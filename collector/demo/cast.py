"""Who and what there is in the simulated workspace: models with prices, people, datasets and fifteen apps of all modes.

What comes in is a source of chance for the ids and the day it all began; what goes out is a `Cast`. Nothing happens
here: runs and messages are drawn in `plan`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

import msgspec

from collector.demo.rows import Account, App, Dataset, Document, Model, Stage, new_id

_MILLION, _THOUSAND = Decimal("0.000001"), Decimal("0.001")


def _model(
    provider: str, name: str, price: tuple[str, str], currency: str, speed: float, *, vision: bool = False
) -> Model:
    unit = _MILLION if currency == "USD" else _THOUSAND
    full = f"langgenius/{provider}/{provider}"
    return Model(full, name, Decimal(price[0]), Decimal(price[1]), unit, currency, speed, vision)


GPT_MINI = _model("openai", "gpt-4o-mini", ("0.15", "0.60"), "USD", 90, vision=True)
GPT = _model("openai", "gpt-4o", ("2.50", "10.00"), "USD", 70, vision=True)
CLAUDE = _model("anthropic", "claude-3-5-sonnet", ("3.00", "15.00"), "USD", 65)
QWEN = _model("tongyi", "qwen-max", ("0.0024", "0.0096"), "CNY", 45)
QWEN_VISION = _model("tongyi", "qwen-vl-max", ("0.0030", "0.0090"), "CNY", 35, vision=True)
DEEPSEEK = _model("deepseek", "deepseek-chat", ("0.0020", "0.0080"), "CNY", 40)
LLAMA = _model("ollama", "llama3.1:8b", ("0", "0"), "USD", 30)
EMBEDDING = _model("openai", "text-embedding-3-small", ("0.02", "0"), "USD", 1000)

MODELS = (GPT_MINI, GPT, CLAUDE, QWEN, QWEN_VISION, DEEPSEEK, LLAMA)
"""The language models of the workspace."""

PEOPLE = tuple(
    f"{name}@example.com"
    for name in [
        "wang.fang",
        "zhang.wei",
        "li.na",
        "liu.yang",
        "chen.jie",
        "yang.min",
        "zhao.lei",
        "huang.li",
        "zhou.tao",
        "wu.xia",
        "xu.bin",
        "sun.hao",
        "alice",
        "bob",
        "carol",
        "david",
        "emma",
        "frank",
        "grace",
        "henry",
        "irene",
        "jack",
        "kate",
        "liam",
        "mia",
        "noah",
        "olivia",
        "paul",
        "quinn",
        "rosa",
        "sam",
        "tina",
    ]
)
"""What callers send as `user`."""

KNOWLEDGE = "员工手册"
CATALOGUE_BASE = "Product catalogue"

_START = Stage(id="start", type="start", title="Start")
_END = Stage(id="end", type="end", title="End")
_ANSWER = Stage(id="answer", type="answer", title="Answer")


def _llm(key: str, title: str, model: Model, inside: str | None = None) -> Stage:
    return Stage(id=key, type="llm", title=title, model=model, inside=inside)


def _search(dataset: str) -> Stage:
    return Stage(id="search", type="knowledge-retrieval", title="Knowledge", dataset=dataset)


def _plain(key: str, kind: str, title: str) -> Stage:
    return Stage(id=key, type=kind, title=title)


_CLASSIFY = Stage(id="classify", type="question-classifier", title="Classify", model=GPT_MINI)
_EXTRACT = Stage(id="extract", type="parameter-extractor", title="抽取要素", model=DEEPSEEK)
_AGENT = Stage(id="agent", type="agent", title="Agent", model=GPT)
_CALL_GLOSSARY = Stage(id="glossary", type="tool", title="术语校对", calls="术语校对")


class Cast(msgspec.Struct, frozen=True):
    """Everything that stands before the first request."""

    workspace_id: str
    accounts: tuple[Account, ...]
    apps: tuple[App, ...]
    datasets: tuple[Dataset, ...]


class _Sketch(msgspec.Struct, frozen=True, kw_only=True):
    """An app before it has ids."""

    name: str
    mode: str
    weight: float
    prompts: tuple[str, ...]
    answer: str
    stages: tuple[Stage, ...] = ()
    model: Model | None = None
    dataset: str | None = None
    inputs: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def _workflow(name: str, weight: float, prompt: str, answer: str, *stages: Stage, **more: tuple[str, ...]) -> _Sketch:
    return _Sketch(
        name=name,
        mode="workflow",
        weight=weight,
        prompts=(prompt,),
        answer=answer,
        stages=(_START, *stages, _END),
        inputs=("q",),
        triggers=more.get("triggers", ()),
        tags=more.get("tags", ()),
    )


def _chatflow(name: str, weight: float, prompts: tuple[str, ...], answer: str, *stages: Stage) -> _Sketch:
    flow = (_START, *stages, _ANSWER)
    return _Sketch(name=name, mode="advanced-chat", weight=weight, prompts=prompts, answer=answer, stages=flow)


_SKETCHES = (
    _workflow(
        "合同审查",
        1.2,
        "请审查这份采购合同的付款条款。",
        "付款条款基本完整,但缺少逾期付款的违约金约定,建议补充。",
        _search(KNOWLEDGE),
        _llm("review", "审查", QWEN),
        _EXTRACT,
        tags=("prod", "法务"),
    ),
    _workflow(
        "Weekly report writer",
        1.0,
        "Summarise this week's tickets.",
        "This week forty tickets were closed; the slowest ones waited for a supplier.",
        _plain("split", "code", "Split"),
        _plain("each", "iteration", "Each ticket"),
        _llm("summary", "Summarise one", GPT_MINI, inside="each"),
        Stage(id="polish", type="llm", title="Polish", model=CLAUDE, retries=2, error_strategy="default-value"),
        tags=("prod",),
    ),
    _workflow(
        "发票识别",
        0.8,
        "识别这张增值税发票。",
        "发票代码、金额和税额已识别,合计一千二百元整。",
        _llm("look", "识别图片", QWEN_VISION),
        _plain("check", "code", "校验"),
        triggers=("webhook", "schedule"),
    ),
    _workflow(
        "Lead scoring",
        0.7,
        "Score this lead: a hospital with 40 beds asks for a quote.",
        "A warm lead: the need is concrete and the budget is named.",
        _CLASSIFY,
        _plain("again", "loop", "Until sure"),
        Stage(id="score", type="llm", title="Score", model=LLAMA, inside="again", inside_type="loop"),
    ),
    _workflow(
        "翻译流水线",
        0.7,
        "把这段产品说明翻译成英文。",
        "The device is calibrated before delivery and needs no further adjustment.",
        _CALL_GLOSSARY,
        _plain("merge", "template-transform", "合并"),
        _llm("translate", "翻译", DEEPSEEK),
        tags=("prod",),
    ),
    _workflow(
        "术语校对",
        0.3,
        "校对术语:扭矩、游标卡尺。",
        "扭矩 torque;游标卡尺 vernier caliper。",
        _llm("terms", "校对", QWEN),
    ),
    _workflow(
        "Release notes",
        0.5,
        "v2.3.0",
        "Release notes for v2.3.0.",
        _plain("collect", "code", "Collect"),
        _plain("render", "template-transform", "Render"),
        triggers=("schedule",),
    ),
    _chatflow(
        "客服助手",
        2.0,
        ("我的订单什么时候发货?", "可以开发票吗?", "怎么申请退款?"),
        "您好,您的订单预计今天下午发货,发货后会有短信通知您。",
        _CLASSIFY,
        _search(CATALOGUE_BASE),
        _llm("reply", "回答", QWEN),
    ),
    _chatflow(
        "Research assistant",
        1.0,
        ("What changed in the battery market this year?", "And in Europe?"),
        "Prices fell again this year, mostly because cathode materials became cheaper.",
        _AGENT,
        _llm("write", "Write", CLAUDE),
    ),
    _Sketch(
        name="HR helpdesk",
        mode="chat",
        weight=1.2,
        model=GPT_MINI,
        dataset=KNOWLEDGE,
        prompts=("How many days of leave do I have?", "Who approves travel?"),
        answer="You have twenty days of leave a year; your manager approves them in the portal.",
    ),
    _Sketch(
        name="知识问答",
        mode="chat",
        weight=1.5,
        model=DEEPSEEK,
        prompts=("什么是增值税专用发票?", "小规模纳税人可以开吗?"),
        answer="增值税专用发票可以抵扣进项税额,普通发票一般不能抵扣。",
        tags=("prod",),
    ),
    _Sketch(
        name="营销文案",
        mode="completion",
        weight=0.8,
        model=QWEN,
        inputs=("q",),
        prompts=("为一款保温杯写一句广告语。",),
        answer="一杯在手,四季如春。",
    ),
    _Sketch(
        name="Translate",
        mode="completion",
        weight=0.8,
        model=GPT_MINI,
        inputs=("q",),
        prompts=("Bonjour tout le monde", "Guten Morgen"),
        answer="Good morning, everyone.",
    ),
    _Sketch(
        name="Travel planner",
        mode="agent-chat",
        weight=0.6,
        model=GPT,
        prompts=("Plan two days in Hangzhou.", "What day is it there?"),
        answer="Begin at West Lake in the morning, then take the boat to the islands.",
    ),
    _Sketch(
        name="数据分析助手",
        mode="agent-chat",
        weight=0.6,
        model=QWEN,
        prompts=("上个月的销售额是多少?", "和去年同期比呢?"),
        answer="上个月销售额为三百二十万元,同比增长百分之八。",
    ),
)


def make_cast(rng: Random, began_at: datetime, timezone: str) -> Cast:
    """The cast of a workspace that began then; its owner lives in this time zone."""
    accounts = _accounts(rng, began_at, timezone)
    datasets = tuple(
        _dataset(rng, name, began_at + timedelta(minutes=place), embedding)
        for place, (name, embedding) in enumerate(((KNOWLEDGE, None), (CATALOGUE_BASE, EMBEDDING)), start=1)
    )
    apps = tuple(_app(rng, sketch, began_at, place, accounts[0]) for place, sketch in enumerate(_SKETCHES))
    return Cast(new_id(rng), accounts, apps, datasets)


def _accounts(rng: Random, began_at: datetime, timezone: str) -> tuple[Account, ...]:
    return tuple(
        Account(
            id=new_id(rng),
            name=name,
            email=f"{name}@example.com",
            password=f"{name}-Passw0rd",
            role=role,
            timezone=timezone,
            created_at=began_at,
        )
        for name, role in (("owner", "owner"), ("metrics", "admin"), ("editor", "editor"), ("normal", "normal"))
    )


def _app(rng: Random, sketch: _Sketch, began_at: datetime, place: int, owner: Account) -> App:
    created_at = began_at + timedelta(minutes=3 * place, microseconds=rng.randrange(1_000_000))
    return App(
        id=new_id(rng),
        created_at=created_at,
        updated_at=created_at,
        created_by=owner.id,
        workflow_id=new_id(rng) if sketch.stages else None,
        key=f"app-{rng.getrandbits(96):024x}",
        **msgspec.structs.asdict(sketch),
    )


def _dataset(rng: Random, name: str, created_at: datetime, embedding: Model | None) -> Dataset:
    documents = [
        Document(
            id=new_id(rng),
            name=f"{name}-{position}.md",
            position=position,
            created_at=created_at + timedelta(seconds=position),
            word_count=(words := rng.randrange(400, 9000)),
            tokens=words * 2 // 3 if embedding else 0,
            segments=1 + words // 500,
        )
        for position in range(1, 8)
    ]
    documents[-1].indexing_status, documents[-1].error = "error", "[openai] Rate Limit Error, 429 Too Many Requests"
    documents[-2].indexing_status = "indexing"
    technique = "high_quality" if embedding else "economy"
    return Dataset(
        id=new_id(rng),
        name=name,
        created_at=created_at,
        indexing_technique=technique,
        embedding_model=embedding,
        documents=documents,
        retrievals=[],
    )
