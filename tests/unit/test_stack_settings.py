"""Settings: each variable is read, a wrong one is named with what is expected, and the key stays one key."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devconnect.settings import VARIABLES, Settings, SettingsError, kept_secret, public_url, read_dotenv


def test_with_nothing_set_there_are_defaults() -> None:
    settings = Settings.load({})
    assert settings.data_dir == Path.cwd() / ".data"
    assert (settings.port, settings.partitions, settings.kafka_url) == (8000, 8, None)


def test_an_empty_variable_is_unset() -> None:
    assert Settings.load({"PORT": " ", "KAFKA_URL": ""}) == Settings.load({})


def test_urls_are_read() -> None:
    settings = Settings.load(
        {"KAFKA_URL": "kafka://a:1,b.c:2", "REDIS_URL": "redis://x:1/0", "MONGO_URL": "mongodb://y"}
    )
    assert (settings.kafka_url, settings.redis_url, settings.mongo_url) == ("a:1,b.c:2", "redis://x:1/0", "mongodb://y")
    assert Settings.load({"KAFKA_URL": "host:9092"}).kafka_url == "host:9092"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "x"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("KAFKA_PORT", "-1"),
        ("KAFKA_URL", "kafka://a"),
        ("KAFKA_URL", "http://a:1"),
        ("KAFKA_URL", "a:1,"),
        ("REDIS_URL", "a:1"),
        ("MONGO_URL", "redis://a:1"),
        ("MONGO_DB", "a/b"),
        ("PARTITIONS", "0"),
        ("COMMAND_WAIT_SECONDS", "nan"),
        ("COMMAND_WAIT_SECONDS", "-1"),
        ("LOG_LEVEL", "loud"),
        ("ARGON2_MEMORY_KIB", "1e3"),
        ("JWT_SECRET", "short"),
        ("JWT_SECRET", "k" * 32 + ",short"),
        ("JWT_SECRET", ",".join(["k" * 32] * 2)),
        ("ID_SECRET", "short"),
        ("PUBLIC_URL", "devconnect.example"),
        ("PUBLIC_URL", "https://devconnect.example/app"),
        ("PUBLIC_URL", "https://somebody@devconnect.example"),
        ("SMTP_URL", "mail.example.org"),
        ("SMTP_URL", "smtp://mail.example.org?starttls=perhaps"),
        ("MAIL_FROM", "nobody"),
        ("MAIL_FROM", "Dev\nBcc: all@example.org <mail@example.org>"),
    ],
)
def test_a_wrong_value_names_its_variable_in_one_line(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} is .*: expected .+$") as error:
        Settings.load({name: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_SECRET", "hunter2"),
        ("JWT_SECRET", "k" * 32 + ",hunter2"),
        ("ID_SECRET", "hunter2"),
        ("SMTP_URL", "smtp://me:hunter2@host:port"),
    ],
)
def test_a_secret_is_never_shown(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.load({name: value})
    assert "hunter2" not in str(error.value)


def test_every_variable_fills_a_field_of_its_own() -> None:
    fields = [variable.field for variable in VARIABLES]
    assert sorted(fields) == sorted(Settings.__struct_fields__)
    assert len({variable.name for variable in VARIABLES}) == len(VARIABLES)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# ours\nPORT=1\nexport LOG_LEVEL='debug'  \nMONGO_DB=x # the name\n\n")
    settings = Settings.load({"PORT": "2"}, dotenv=file)
    assert (settings.port, settings.log_level, settings.mongo_db) == (2, "DEBUG", "x")


def test_a_line_of_the_file_that_is_no_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\nnonsense\n")
    with pytest.raises(SettingsError, match=r"line 2: expected NAME=value"):
        read_dotenv(tmp_path / ".env")
    assert read_dotenv(tmp_path / "none") == {}


def test_the_key_is_made_once_for_all_and_is_private(tmp_path: Path) -> None:
    settings = Settings.load({"DATA_DIR": str(tmp_path / "new")})
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(kept_secret, [settings] * 32))
    assert len(keys) == 1
    assert len(keys.pop()) >= 32
    assert [file.name for file in settings.data_dir.iterdir()] == ["secret"]
    assert stat.S_IMODE((settings.data_dir / "secret").stat().st_mode) == 0o600


def test_keys_come_with_commas_and_an_address_without_its_last_slash() -> None:
    one, other = "a" * 32, "b" * 32
    settings = Settings.load({"JWT_SECRET": f"{one}, {other}", "PUBLIC_URL": "https://devconnect.example/"})
    assert settings.jwt_secrets == (one, other)
    assert public_url(settings) == "https://devconnect.example"


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:9000"), ("0.0.0.0", "http://127.0.0.1:9000"), ("::", "http://[::1]:9000")],
)
def test_without_a_public_address_it_is_where_the_gateway_listens(host: str, url: str) -> None:
    assert public_url(Settings.load({"HOST": host, "PORT": "9000"})) == url
