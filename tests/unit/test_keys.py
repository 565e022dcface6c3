"""The keys of tokens change under running processes and nobody is logged out; the one of ids never changes."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from devconnect.cli.main import main
from devconnect.keys import LOOK_MS, OVERLAP_MS, Key, KeyFile, Keyring, KeysError, derive, id_secret, kid_of
from devconnect.settings import Settings, SettingsError
from tests.fakes import ManualClock

LIFETIME = 900


class Fixture:
    """A data folder with keys, two gateways on it, and a clock that all of them go by."""

    def __init__(self, folder: Path, **env: str) -> None:
        env = {"DATA_DIR": str(folder), "SESSION_IDLE_SECONDS": str(LIFETIME), **env}
        self.settings = Settings.load(env)
        self.clock = ManualClock()
        self.file = KeyFile(self.settings)
        self.one, self.other = self.ring(), self.ring()

    def ring(self) -> Keyring:
        return Keyring(self.settings, self.clock)

    def rotate(self) -> Key:
        return self.file.rotate(self.clock.now).key

    def wait(self, milliseconds: int) -> None:
        self.clock.now += milliseconds


@pytest.fixture
def given(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path)


def test_all_processes_have_the_key_that_was_made_first(tmp_path: Path) -> None:
    settings = Settings.load({"DATA_DIR": str(tmp_path / "new")})
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: Keyring(settings, ManualClock()), range(32)))
    assert len({ring.current() for ring in rings}) == 1
    assert [file.name for file in settings.data_dir.iterdir()] == ["signing-keys"]


def test_the_file_is_its_owners_alone_also_after_a_rotation(given: Fixture) -> None:
    assert stat.S_IMODE(given.file.path.stat().st_mode) == 0o600
    given.rotate()
    assert stat.S_IMODE(given.file.path.stat().st_mode) == 0o600


def test_a_new_key_is_known_everywhere_before_it_signs(given: Fixture) -> None:
    old = given.one.current()
    new = given.rotate()
    given.wait(LOOK_MS)
    assert (given.other.find(new.kid), given.other.current()) == (new, old)
    assert LOOK_MS <= 5_000 < OVERLAP_MS
    given.wait(OVERLAP_MS - LOOK_MS - 1)
    assert given.one.current() == old
    given.wait(1)
    assert given.one.current() == new
    assert given.ring().current() == new


def test_an_old_key_is_good_until_the_last_token_of_it_is_over(given: Fixture) -> None:
    old = given.one.current()
    given.rotate()
    given.wait(OVERLAP_MS - 1)
    assert given.one.current() == old
    given.wait(LIFETIME * 1000)
    assert given.one.find(old.kid) == old
    given.wait(1)
    assert given.one.find(old.kid) is None


def test_one_rotation_after_the_other_keeps_all_that_may_still_be_needed(given: Fixture) -> None:
    keys = [given.one.current()]
    for _ in range(3):
        keys.append(given.rotate())
        given.wait(OVERLAP_MS)
    assert [given.one.find(key.kid) for key in keys] == keys
    given.wait(LIFETIME * 1000)
    last = given.rotate()
    assert [record.key for record in given.file.read()] == [keys[-1], last]


def test_a_second_rotation_waits_for_the_first(given: Fixture) -> None:
    new = given.rotate()
    given.wait(OVERLAP_MS - 1)
    with pytest.raises(KeysError, match=f"{new.kid} signs in"):
        given.rotate()
    given.wait(1)
    assert given.rotate() != new


def test_a_retired_key_is_worth_nothing_soon(given: Fixture) -> None:
    old = given.one.current()
    new = given.rotate()
    given.wait(OVERLAP_MS)
    given.file.retire(old.kid, given.clock.now)
    given.wait(LOOK_MS)
    assert (given.one.find(old.kid), given.one.find(new.kid)) == (None, new)


def test_a_key_that_is_over_does_not_come_back_when_its_follower_is_retired(given: Fixture) -> None:
    first = given.one.current()
    second = given.rotate()
    given.wait(OVERLAP_MS + LIFETIME * 1000)
    given.rotate()
    given.wait(OVERLAP_MS)
    given.file.retire(second.kid, given.clock.now)
    given.wait(LOOK_MS)
    assert given.one.find(first.kid) is None


def test_a_key_that_has_not_signed_yet_may_be_retired_and_the_one_before_goes_on(given: Fixture) -> None:
    old, new = given.one.current(), given.rotate()
    given.file.retire(new.kid, given.clock.now)
    given.wait(OVERLAP_MS + LIFETIME * 2000)
    assert (given.one.current(), given.one.find(old.kid)) == (old, old)


def test_the_key_that_signs_and_one_that_is_not_there_can_not_be_retired(given: Fixture) -> None:
    with pytest.raises(KeysError, match="rotate first"):
        given.file.retire(given.one.current().kid, given.clock.now)
    with pytest.raises(KeysError, match="there is no key nobody"):
        given.file.retire("nobody", given.clock.now)


def test_rotations_at_once_are_one_after_the_other(given: Fixture) -> None:
    def rotate(_: int) -> Key | None:
        try:
            return given.rotate()
        except KeysError:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [key for key in pool.map(rotate, range(16)) if key]
    assert len(made) == 1
    assert len(given.file.read()) == 2


def test_each_change_has_a_version_and_looking_has_none(given: Fixture) -> None:
    before = given.one.version
    given.wait(LOOK_MS)
    given.one.current()
    assert given.one.version == before
    given.rotate()
    given.wait(LOOK_MS)
    given.one.current()
    assert given.one.version == before + 1


@pytest.mark.parametrize("content", [b"", b"nonsense", b'{"keys": []}', b'{"keys": [{"secret": 1}]}', b"\xff"])
def test_a_file_that_is_broken_changes_nothing_for_who_runs_and_stops_who_starts(
    given: Fixture, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    key = given.one.current()
    given.file.path.write_bytes(content)
    for _ in range(3):
        given.wait(LOOK_MS)
        assert given.one.current() == key
    assert len([record for record in caplog.records if "from before" in record.getMessage()]) == 1
    with pytest.raises(SettingsError, match="signing-keys"):
        given.ring()


def test_a_file_that_is_gone_changes_nothing_for_who_runs(given: Fixture) -> None:
    key = given.one.current()
    given.file.path.unlink()
    given.wait(LOOK_MS)
    assert (given.one.current(), given.one.find(key.kid)) == (key, key)


def test_a_clock_that_is_set_back_stops_nobody_from_looking(given: Fixture) -> None:
    new = given.rotate()
    given.wait(-3_600_000)
    assert given.one.find(new.kid) == new


def test_keys_that_are_set_are_the_keys(tmp_path: Path) -> None:
    one, other = "a" * 32, "b" * 32
    given = Fixture(tmp_path / "new", JWT_SECRET=f"{one},{other}")
    assert given.one.current() == Key(kid_of(one), one)
    assert given.one.find(kid_of(other)) == Key(kid_of(other), other)
    assert given.one.find("nobody") is None
    assert not given.settings.data_dir.exists()


def test_ids_keep_their_meaning_whatever_becomes_of_the_token_keys(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("as it has always been\n")
    given = Fixture(tmp_path)
    given.rotate()
    assert id_secret(given.settings) == "as it has always been"
    assert id_secret(Settings.load({"DATA_DIR": str(tmp_path), "JWT_SECRET": "j" * 32})) == "as it has always been"
    assert id_secret(Settings.load({"DATA_DIR": str(tmp_path), "ID_SECRET": "i" * 32})) == "i" * 32


def test_each_purpose_has_a_key_of_its_own() -> None:
    keys = {derive(secret, purpose) for secret in ("one", "other") for purpose in ("links", "renewals")}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}
    assert derive("one", "links") == derive("one", "links")


# -- the command line


def command(folder: Path, *arguments: str, **env: str) -> tuple[int, str]:
    found = CliRunner().invoke(main, ["keys", *arguments], env={"DATA_DIR": str(folder), "JWT_SECRET": "", **env})
    return found.exit_code, found.output


def test_a_rotation_step_by_step(tmp_path: Path) -> None:
    [first] = msgspec.json.decode(command(tmp_path, "list", "--json")[1])
    assert (first["state"], first["kid"]) == (
        "signs",
        KeyFile(Settings.load({"DATA_DIR": str(tmp_path)})).read()[0].key.kid,
    )
    code, said = command(tmp_path, "rotate")
    assert (code, "signs from" in said) == (0, True)
    assert [row["state"] for row in msgspec.json.decode(command(tmp_path, "list", "--json")[1])] == [
        "signs",
        "will sign",
    ]
    assert command(tmp_path, "rotate") == (1, command(tmp_path, "rotate")[1])
    assert "a rotation is under way" in command(tmp_path, "rotate")[1]
    assert "rotate first" in command(tmp_path, "retire", first["kid"])[1]


def test_no_key_is_ever_shown(tmp_path: Path) -> None:
    shown = command(tmp_path, "list")[1] + command(tmp_path, "rotate")[1] + command(tmp_path, "list", "--json")[1]
    for record in KeyFile(Settings.load({"DATA_DIR": str(tmp_path)})).read():
        assert record.secret not in shown
        assert record.key.kid in shown


def test_keys_that_are_set_are_changed_where_they_are_set(tmp_path: Path) -> None:
    secrets = ",".join(["a" * 32, "b" * 32])
    assert [
        row["state"] for row in msgspec.json.decode(command(tmp_path, "list", "--json", JWT_SECRET=secrets)[1])
    ] == [
        "signs",
        "verifies",
    ]
    for change in (["rotate"], ["retire", "x"]):
        code, said = command(tmp_path, *change, JWT_SECRET=secrets)
        assert (code, "JWT_SECRET" in said) == (1, True)
    assert not list(tmp_path.iterdir())
