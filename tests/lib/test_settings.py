import io
import json
import re
import sys
from pathlib import Path

import pytest
import structlog

from lib.log import LossyStream, configure_logging
from lib.settings import ROOT, Settings, SettingsError, get_settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def env_file(tmp_path):
    def write(text: str) -> Path:
        file = tmp_path / ".env"
        file.write_text(f"VAR_DIR={tmp_path / 'var'}\n{text}", encoding="utf-8")
        return file

    return write


def test_settings_default_to_places_below_var_of_the_project():
    settings = Settings(_env_file=None)
    assert settings.var_dir == ROOT / "var"
    assert settings.mlflow_tracking_uri == f"sqlite:///{ROOT}/var/mlflow.db"
    assert settings.mlflow_artifact_root == f"{ROOT}/var/mlartifacts"
    assert settings.optuna_storage == f"sqlite:///{ROOT}/var/optuna.db"
    assert settings.database_url == f"sqlite:///{ROOT}/var/state.db"
    assert settings.registered_model_name == "ProductionLSTM-Forecast"
    assert settings.api_keys == ()


def test_settings_places_follow_var_dir_which_is_made(env_file, tmp_path):
    settings = get_settings(env_file(""))
    assert settings.var_dir == tmp_path / "var"
    assert settings.var_dir.is_dir()
    assert settings.database_url == f"sqlite:///{tmp_path}/var/state.db"


def test_settings_do_not_depend_on_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAR_DIR", "var/elsewhere")
    monkeypatch.setenv("OPTUNA_STORAGE", "sqlite:///var/studies.db")
    settings = Settings(_env_file=None)
    assert settings.var_dir == ROOT / "var/elsewhere"
    assert settings.optuna_storage == f"sqlite:///{ROOT}/var/studies.db"


def test_settings_environment_goes_before_the_file(env_file, monkeypatch):
    file = env_file("LOG_LEVEL=ERROR\nSMTP_PORT=25\n")
    monkeypatch.setenv("LOG_LEVEL", "debug")
    settings = get_settings(file)
    assert (settings.log_level, settings.smtp_port) == ("DEBUG", 25)


def test_settings_are_read_afresh_each_time(env_file):
    assert get_settings(env_file("SMTP_PORT=25")).smtp_port == 25
    assert get_settings(env_file("SMTP_PORT=26")).smtp_port == 26


def test_settings_empty_variable_counts_as_not_set(env_file):
    assert get_settings(env_file("QUEUE_URL=\nAPI_KEYS=\nSMTP_PORT=\n")).smtp_port == 587


def test_settings_accept_a_queue_url_of_earlier_versions(env_file):
    assert get_settings(env_file("QUEUE_URL=redis://host:6379/0")).queue_url


def test_settings_api_keys_are_a_list_and_secret(env_file):
    settings = get_settings(env_file("API_KEYS=first, second,,\nSMTP_PASSWORD=third"))
    assert [key.get_secret_value() for key in settings.api_keys] == ["first", "second"]
    assert not re.search("first|second|third", repr(settings))


def test_settings_api_keys_that_no_client_can_send_are_refused_unquoted(env_file):
    with pytest.raises(SettingsError, match="API_KEYS: expected ASCII") as refused:
        get_settings(env_file("API_KEYS=first,çhave"))
    assert not re.search("first|have", str(refused.value))


def test_settings_repr_hides_passwords_in_urls(env_file):
    settings = get_settings(env_file("DATABASE_URL=postgresql://me:hidden@host/db"))
    assert settings.database_url == "postgresql://me:hidden@host/db"
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("SMTP_PORT=many", "SMTP_PORT: Input should be a valid integer"),
        ("SMTP_PORT=0", "SMTP_PORT: Input should be greater than or equal to 1"),
        ("LOG_LEVEL=loud", "LOG_LEVEL: Input should be 'DEBUG'"),
        ("DATABASE_URL=state.db", "DATABASE_URL: expected a URL such as sqlite:///var/state.db"),
        ("ALERT_EMAIL=me", "ALERT_EMAIL: expected an e-mail address"),
        ("API_KEY=oops", "API_KEY: is no setting"),
        ("EXPLANATION_QUEUE_MAX=0", "EXPLANATION_QUEUE_MAX: Input should be greater than"),
    ],
)
def test_settings_error_names_the_variable(env_file, line, message):
    with pytest.raises(SettingsError, match=re.escape(message)) as caught:
        get_settings(env_file(line + "\n"))
    assert ".env.example" in str(caught.value)


def test_settings_error_never_shows_a_secret(env_file):
    with pytest.raises(SettingsError) as caught:
        get_settings(env_file("SMTP_PASSWORD=hidden\nSMTP_PASSWROD=hidden\n"))
    assert "SMTP_PASSWROD" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_settings_var_dir_that_cannot_be_made_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VAR_DIR", str(tmp_path / "file" / "var"))
    with pytest.raises(SettingsError, match=r"VAR_DIR: cannot make the folder .*expected a folder"):
        get_settings(None)


def test_env_example_names_every_setting_with_its_default(env_file):
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    given = [line[1:] for line in lines if re.match(r"#[A-Z0-9_]+=", line)]
    ignored = {"queue_url"}  # of earlier versions
    names = set(Settings.model_fields) - ignored
    assert {line.split("=")[0].lower() for line in given} == names
    file = env_file("")
    file.write_text("\n".join(given), encoding="utf-8")
    example, default = Settings(_env_file=file), Settings(_env_file=None)
    different = {
        name
        for name in Settings.model_fields
        if getattr(example, name) != getattr(default, name) and name != "mlflow_artifact_root"
    }
    assert different == set()


def test_configure_logging_writes_json_lines_to_stderr(capsys):
    try:
        configure_logging("warning")
        structlog.get_logger().info("quiet")
        structlog.get_logger().warning("loud", count=3)
    finally:
        structlog.reset_defaults()
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["count"], entry["level"]) == ("loud", 3, "warning")
    assert entry["timestamp"].endswith("Z")


@pytest.mark.parametrize("log_format", ["text", "auto"])
def test_configure_logging_writes_readable_lines_for_people(monkeypatch, log_format):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    before, after = Terminal(), Terminal()
    try:
        monkeypatch.setattr(sys, "stderr", before)
        configure_logging("INFO", log_format)
        monkeypatch.setattr(sys, "stderr", after)  # as a live display does
        structlog.get_logger().info("run started", stages=["01", "02"], seconds=1.5)
        structlog.get_logger().warning("worker replaced")
        request = {"method": "GET", "status": 200, "ms": 1.25, "version": 3, "key": None}
        structlog.get_logger().info("request", path="/model", **request)
        structlog.get_logger().info("request", path="/static/1/page.js", **request)
    finally:
        structlog.reset_defaults()
    assert before.getvalue() == ""
    first, second, third = after.getvalue().splitlines()
    assert third.endswith("  GET /model: 200 in 1.25 ms  (version: 3)")
    assert re.fullmatch(r"\d\d:\d\d:\d\d  run started  \(stages: 01, 02; seconds: 1.5\)", first)
    assert second.endswith("  warning: worker replaced")


def test_configure_logging_is_json_where_no_terminal_is(capsys):
    try:
        configure_logging("INFO", "auto")
        structlog.get_logger().info("run started")
    finally:
        structlog.reset_defaults()
    assert json.loads(capsys.readouterr().err)["event"] == "run started"


def test_configure_logging_refuses_an_unknown_level():
    with pytest.raises(SettingsError, match="LOG_LEVEL: got 'loud', expected one of"):
        configure_logging("loud")


def test_secret_is_read_from_its_file_unless_the_environment_has_it(tmp_path, monkeypatch):
    (tmp_path / "api_keys").write_text("one,two\n")
    (tmp_path / "smtp_user").write_text("from the file")
    monkeypatch.setattr("lib.settings.SECRETS", tmp_path)
    monkeypatch.setenv("SMTP_USER", "from the environment")
    settings = get_settings(None)
    assert [key.get_secret_value() for key in settings.api_keys] == ["one", "two"]
    assert settings.smtp_user == "from the environment"


def test_logs_that_cannot_be_written_stop_nothing_and_are_counted():
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs the device /dev/full")
    with full.open("w", buffering=1) as file:
        log = LossyStream(file)
        log.write("one\n")
        log.write("two\n")
        assert log.lost == 2
        log._stream = io.StringIO()
        log.write("three\n")
        assert log._stream.getvalue().splitlines() == [
            '{"lines": 2, "event": "log lines lost"}',
            "three",
        ]
        assert log.lost == 0
        with pytest.raises(OSError, match="No space left"):
            file.close()


@pytest.mark.parametrize("keys", [",", " , ", ",,"])
def test_settings_api_keys_of_commas_only_are_refused(env_file, keys):
    with pytest.raises(SettingsError, match="API_KEYS: expected keys"):
        get_settings(env_file(f"API_KEYS={keys}"))
