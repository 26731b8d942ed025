"""The URLs of a broker, and what is said when it cannot be reached. Passwords are said nowhere."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from collector.errors import Forbidden, SettingsError, Unauthorized, Unavailable
from collector.pull.redis_link import READ_ONLY_USER, RedisLink, parse_place
from tests.servers.ports import free_port
from tests.servers.redis import running_redis, running_sentinel, stop


async def ping(url: str, timeout_seconds: float = 60.0) -> object:
    async with RedisLink(parse_place(url), timeout_seconds=timeout_seconds) as link:
        (answer,) = await link.ask([("LLEN", "dataset")])
        return answer


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://:difyai123456@redis:6379/1", "redis://redis:6379 database 1"),
        ("redis://redis", "redis://redis:6379 database 0"),
        ("redis://redis/?virtual_host=3", "redis://redis:6379 database 3"),
        ("rediss://redis:6380/1?ssl_cert_reqs=CERT_NONE", "rediss://redis:6380 database 1"),
        ("redis+socket:///run/redis.sock?virtual_host=1", "redis+socket:///run/redis.sock database 1"),
        ("unix://:pass@/run/redis.sock?db=1", "unix:///run/redis.sock database 1"),
        ("sentinel://a;sentinel://b:26380/1?master_name=m", "sentinel://a:26379,b:26380 database 0"),
        ("sentinel://:p@a/1;sentinel://b?master_name=m", "sentinel://a:26379,b:26379 database 1"),
    ],
)
def test_every_url_that_celery_takes_is_read(url: str, meant: str) -> None:
    assert str(parse_place(url)) == meant


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "wanted redis://"),
        ("amqp://guest@rabbit//", "only Redis brokers"),
        ("redis.internal:6379", "wanted redis://"),
        ("redis://redis/one", "is a number"),
        ("redis://redis:port/1", "cannot be read"),
        ("redis://redis/1?ssl_cert_req=none", "no option 'ssl_cert_req'"),
        ("redis://a;redis://b", "sentinel:// only"),
        ("sentinel://a", "master_name"),
    ],
)
def test_a_url_that_cannot_be_read_says_what_is_wanted(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse_place(url)


def test_tls_takes_no_word_it_does_not_know() -> None:
    with pytest.raises(SettingsError, match="ssl_cert_reqs"):
        RedisLink(parse_place("rediss://redis?ssl_cert_reqs=maybe"))


@given(st.text(alphabet="QXZ:/?#@;%&= ", min_size=1))
def test_a_password_is_in_no_message_however_it_is_written(password: str) -> None:
    place = parse_place(f"redis://user:{quote(password, safe='')}@redis:6379/1")
    assert place.password == password
    assert not set("QXZ") & set(f"{place} {place!r}")
    try:
        place = parse_place(f"redis://:{password}@redis:6379/1")
        said = f"{place} {place!r}"
    except SettingsError as error:
        said = str(error)
    assert not set("QXZ") & set(said)


async def test_a_password_that_is_missing_or_wrong_is_refused_by_name(tmp_path: Path) -> None:
    with running_redis(tmp_path, "--requirepass", "open-sesame") as redis:
        for url in (redis.url, redis.url.replace("//", "//:not-this-one@")):
            with pytest.raises(Unauthorized, match=r"127\.0\.0\.1:\d+ database 1: .*check the broker URL") as refused:
                await ping(url)
            assert "not-this-one" not in str(refused.value)
        assert await ping(redis.url.replace("//", "//:open-sesame@")) == 0


async def test_a_user_who_may_not_read_is_told_what_is_needed(tmp_path: Path) -> None:
    with running_redis(tmp_path) as redis:
        with Redis.from_url(redis.url) as admin:
            admin.execute_command("ACL SETUSER narrow on >secret ~mail -@all +select +llen")
        with pytest.raises(Forbidden, match="ACL SETUSER dify-metric") as refused:
            await ping(redis.url.replace("//", "//narrow:secret@"))
        assert "secret" not in str(refused.value)
        assert READ_ONLY_USER in str(refused.value)


async def test_nobody_listens() -> None:
    with pytest.raises(Unavailable, match="is Redis up"):
        await ping(f"redis://127.0.0.1:{free_port()}/1")


async def test_no_such_socket(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"redis\.sock"):
        await ping(f"unix://{tmp_path}/redis.sock?db=1")


async def test_a_redis_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unavailable, match="is Redis up"):
        await ping(f"redis://127.0.0.1:{silent.getsockname()[1]}/1", timeout_seconds=0.01)


async def test_a_redis_that_is_starting_says_when_to_come_back() -> None:
    async def loading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"-LOADING Redis is loading the dataset in memory\r\n")
        await reader.read()  # to its end: closing with bytes unread resets the connection
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(loading, "127.0.0.1", 0) as starting:
        with pytest.raises(Unavailable, match="loading its data") as told:
            await ping(f"redis://127.0.0.1:{starting.sockets[0].getsockname()[1]}/1")
    assert told.value.retry_after_seconds == 10


async def test_a_redis_that_went_away_and_came_back_is_asked_again(tmp_path: Path) -> None:
    with running_redis(tmp_path) as redis:
        async with RedisLink(parse_place(redis.url)) as link:
            assert await link.ask([("LLEN", "dataset")]) == [0]
            stop(redis.process)
            with pytest.raises(Unavailable):
                await link.ask([("LLEN", "dataset")])
            with running_redis(tmp_path, port=redis.port):
                assert await link.ask([("LLEN", "dataset")]) == [0]


async def test_a_database_that_does_not_exist_is_a_wrong_setting(tmp_path: Path) -> None:
    with running_redis(tmp_path) as redis, pytest.raises(SettingsError, match="no such database"):
        await ping(redis.url.removesuffix("/1") + "/99")


async def test_a_cluster_is_no_broker(tmp_path: Path) -> None:
    with running_redis(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as redis:
        for database in (0, 1):
            with pytest.raises(SettingsError, match="Redis Cluster"):
                await ping(redis.url.removesuffix("1") + str(database))


def make_certificate(directory: Path) -> None:
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=redis"
    files = ["-keyout", "key.pem", "-out", "cert.pem", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made.split(), *files], cwd=directory, check=True, capture_output=True)


async def test_tls_is_checked_unless_told_not_to(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    tls = "--tls --tls-auth-clients no --tls-cert-file cert.pem --tls-key-file key.pem --tls-ca-cert-file cert.pem"
    with running_redis(tmp_path, *tls.split()) as redis:
        url = redis.url.replace("redis://", "rediss://")
        assert await ping(f"{url}?ssl_ca_certs={tmp_path}/cert.pem") == 0
        assert await ping(f"{url}?ssl_cert_reqs=CERT_NONE") == 0
        with pytest.raises(Unavailable, match="certificate"):
            await ping(url)


async def test_a_sentinel_leads_to_its_master(tmp_path: Path) -> None:
    (tmp_path / "sentinel").mkdir()
    with (
        running_redis(tmp_path, "--requirepass", "open-sesame") as redis,
        running_sentinel(tmp_path / "sentinel", redis.port, "sentinel auth-pass dify open-sesame") as port,
    ):
        gone = free_port()
        url = f"sentinel://:open-sesame@127.0.0.1:{gone}/1;sentinel://127.0.0.1:{port}?master_name="
        assert await ping(f"{url}dify") == 0
        with pytest.raises(Unavailable):
            await ping(f"{url}unheard-of")


async def test_nothing_is_asked_without_a_question() -> None:
    async with RedisLink(parse_place("redis://nowhere.invalid")) as link:
        assert await link.ask([]) == []
        assert link.round_trips == 0
