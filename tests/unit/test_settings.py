"""config.yaml, environment and command line become one frozen object, or one line that says why not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pydantic
import pytest

from enrich import settings
from enrich.errors import ConfigError
from enrich.sections import Providers
from enrich.settings import Settings, Step

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def complaint(config: Path, text: str | None = None, **overrides: Any) -> str:
    if text is not None:
        config.write_text(text)
    with pytest.raises(ConfigError) as raised:
        settings.load(config, overrides={key.replace("__", "."): value for key, value in overrides.items()})
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_each_source_goes_before_the_next(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(**overrides: Any) -> tuple[str, int]:
        loaded = settings.load(config, overrides=overrides)
        return loaded.device, loaded.batch_size

    config.write_text("{}")
    assert seen() == ("auto", 16)
    config.write_text("device: cpu\nbatch_size: 2\n")
    assert seen() == ("cpu", 2)
    monkeypatch.setenv("ENRICH_DEVICE", "cuda")
    assert seen() == ("cuda", 2)
    assert seen(device="openvino") == ("openvino", 2)


def test_each_source_goes_before_the_next_inside_a_section(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(
        "steps:\n  ocr: {plugin: ocr, priority: 1, size_px: 100, threshold: 0.5}\n  tags: {plugin: t}\n"
    )
    monkeypatch.setenv("ENRICH_STEPS__OCR__PRIORITY", "2")
    monkeypatch.setenv("ENRICH_STEPS__OCR__SIZE_PX", "200")
    loaded = settings.load(config, overrides={"steps.ocr.size_px": 300, "steps.new.plugin": "colors"})
    step = loaded.steps["ocr"]
    assert (step.plugin, step.priority, step.size_px) == ("ocr", 2, 300)
    assert step.options == {"threshold": 0.5}
    assert list(loaded.steps) == ["ocr", "tags", "new"]


def test_a_list_of_the_environment_is_json_and_replaces_the_files(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("roots:\n  - path: inbox\n    unknown: 1\n")
    monkeypatch.setenv("ENRICH_ROOTS", '[{"path": "/pictures", "mode": "poll"}]')
    (root,) = settings.load(config).roots
    assert (root.path, root.mode) == (Path("/pictures"), "poll")


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("device: cpu\ndevices: cuda\n", 2, "devices: unknown key"),
        ("roots:\n  - path: a\n  - path: b\n    ignored: []\n", 4, "roots.1.ignored: unknown key"),
        ("steps:\n  ocr:\n    model: m\n", 2, "steps.ocr.plugin: this key is required"),
        ("steps:\n  ocr:\n    plugin: ocr\n    size_px: 3\n", 4, "steps.ocr.size_px: "),
        ("steps:\n  'no good': {plugin: ocr}\n", 2, "steps.no good: "),
        ("\n\nbatch_size: many\n", 3, "batch_size: "),
        ("catalog: [a]\n", 1, "catalog: "),
        ("models_dir: 3\n", 1, "models_dir: "),
        ("plugin_dirs: 3\n", 1, "plugin_dirs: "),
        ("plugin_dirs: [3]\n", 1, "plugin_dirs.0: "),
        ("roots: inbox\n", 1, "roots: "),
        ("roots: [inbox]\n", 1, "roots.0: "),
        ("roots:\n- path: [a]\n", 2, "roots.0.path: "),
        ("steps: [ocr]\n", 1, "steps: "),
        ("steps:\n  ocr:\n", 2, "steps.ocr: "),
        ("device:\n", 1, "device: "),
        ("device: tpu\n", 1, "device: "),
        ("1: one\n", 1, "1: unknown key"),
        ("device: cpu\nbatch_size: 1\ndevice: cuda\n", 3, "device: the same key is in line 1"),
        ("steps:\n  ocr: {plugin: ocr}\n  ocr: {plugin: tags}\n", 3, "steps.ocr: the same key is in line 2"),
        ("drain_seconds: -1\n", 1, "drain_seconds: "),
        ("drain_seconds: .inf\n", 1, "drain_seconds: "),
        ("drain_seconds: .nan\n", 1, "drain_seconds: "),
        ("roots: [{path: a, rescan_seconds: .inf}]\n", 1, "roots.0.rescan_seconds: "),
        ("metrics:\n  port: 70000\n", 2, "metrics.port: "),
        ("metrics: 9464\n", 1, "metrics: "),
        ("metrics: {file: 3}\n", 1, "metrics.file: "),
        ("metrics: {path: enrich.prom}\n", 1, "metrics.path: unknown key"),
        ("device: cpu\n  batch_size: 1\n", 2, "not YAML: "),
        ("- device\n", 1, "the file must hold keys and values"),
        ("device\n", 1, "the file must hold keys and values"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_key(config: Path, text: str, line: int, key: str) -> None:
    assert complaint(config, text).startswith(f"{config}, line {line}: {key}")


def test_further_errors_are_counted(config: Path) -> None:
    assert complaint(config, "device: tpu\nthreads: 0\n").endswith(" (and 1 more)")


@pytest.mark.parametrize("content", [b"steps: &a\n  ocr: *a\n", b"[" * 1200, b"a: \xff\n", b"a: \x01\n"])
def test_a_file_that_is_no_config_is_one_line(config: Path, content: bytes) -> None:
    config.write_bytes(content)
    assert str(config) in complaint(config)


def test_a_missing_file_is_named_with_the_command_that_writes_one(tmp_path: Path) -> None:
    said = complaint(tmp_path / "none.yaml")
    assert str(tmp_path / "none.yaml") in said
    assert "enrich init" in said


def test_a_folder_is_no_config_file(tmp_path: Path) -> None:
    assert "cannot be read" in complaint(tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("ENRICH_DEVICE", "tpu", "environment: ENRICH_DEVICE: "),
        ("ENRICH_BATCH_SIZE", "x", "environment: ENRICH_BATCH_SIZE: "),
        ("enrich_batch_size", "0", "environment: ENRICH_BATCH_SIZE: "),
        ("ENRICH_ROOTS", "[inbox", "environment: ENRICH_ROOTS: not JSON"),
        ("ENRICH_ROOTS", '[{"path": "x", "mode": "sometimes"}]', "environment: ENRICH_ROOTS: "),
        ("ENRICH_STEPS__OCR__SIZE_PX", "3", "environment: ENRICH_STEPS__OCR__SIZE_PX: "),
        ("ENRICH_STEPS__NEW__MODEL", "m", "environment: ENRICH_STEPS__NEW__"),
    ],
)
def test_a_wrong_variable_is_named(
    config: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert complaint(config, "steps: {ocr: {plugin: ocr}}").startswith(expected)


def test_a_wrong_value_of_the_command_line_is_said_to_be_from_there(config: Path) -> None:
    text = "device: cpu\nsteps:\n  ocr: {plugin: ocr}\n"
    assert complaint(config, text, device="tpu").startswith("command line: device: ")
    assert complaint(config, text, steps__ocr__size_px=3).startswith("command line: steps.ocr.size_px: ")
    assert complaint(config, text, nonsense=3).startswith("command line: nonsense: unknown key")


def test_a_wrong_file_is_not_blamed_on_the_command_line(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENRICH_STEPS__TAGS__PLUGIN", "tags")
    said = complaint(config, "steps:\n  ocr: {plugin: ocr, size_px: 3}\n", steps__colors__plugin="colors")
    assert said.startswith(f"{config}, line 2: steps.ocr.size_px")


def test_sections_with_every_entry_commented_out_are_empty(config: Path) -> None:
    config.write_text("plugin_dirs:\nroots:\n# - path: inbox\nsteps:\nmetrics:\n  # port: 1\n")
    loaded = settings.load(config)
    assert (loaded.plugin_dirs, loaded.roots, loaded.steps) == ((), (), {})


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_the_defaults(config: Path, text: str) -> None:
    config.write_text(text)
    assert settings.load(config).steps == {}


def test_relative_paths_of_the_file_are_relative_to_it_and_all_others_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    config = tmp_path / "etc" / "config.yaml"
    config.write_text(
        "catalog: sqlite:///c.db\nmodels_dir: ../models\nplugin_dirs: [mine]\nroots: [{path: inbox}]\n"
        "metrics: {file: enrich.prom}\n"
    )
    loaded = settings.load(config, folder=tmp_path)
    assert loaded.catalog == f"sqlite:///{tmp_path}/etc/c.db"
    assert loaded.models_dir == tmp_path / "models"
    assert loaded.plugin_dirs == (tmp_path / "etc" / "mine",)
    assert loaded.roots[0].path == tmp_path / "etc" / "inbox"
    assert loaded.metrics.file == tmp_path / "etc" / "enrich.prom"

    monkeypatch.setenv("ENRICH_MODELS_DIR", "models")
    loaded = settings.load(
        config,
        folder=tmp_path,
        overrides={"catalog": "sqlite:///d.db", "plugin_dirs": ["x"], "metrics.file": "y.prom"},
    )
    assert loaded.catalog == f"sqlite:///{tmp_path}/d.db"
    assert loaded.models_dir == tmp_path / "models"
    assert loaded.plugin_dirs == (tmp_path / "x",)
    assert loaded.metrics.file == tmp_path / "y.prom"


def places(model: type[pydantic.BaseModel], place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a path can stand in the settings; the first entry of a list stands for all."""
    for name, field in model.model_fields.items():
        inner = get_args(field.annotation)
        within = (*place, name, 0) if get_origin(field.annotation) is tuple else (*place, name)
        for kind in inner or (field.annotation,):
            if kind is Path:
                yield within
            elif isinstance(kind, type) and issubclass(kind, pydantic.BaseModel) and kind is not Step:
                yield from places(kind, within)


@pytest.mark.parametrize("place", list(places(Settings)), ids=lambda place: ".".join(map(str, place)))
def test_no_path_of_the_settings_is_left_relative(config: Path, place: tuple[Any, ...]) -> None:
    values: Any = "here"
    for part in reversed(place):
        values = [values] if part == 0 else {part: values}
    config.write_text(json.dumps(values))
    found: Any = settings.load(config)
    for part in place:
        found = found[part] if part == 0 else getattr(found, part)
    assert found == config.parent / "here"


def test_a_home_that_nobody_knows_is_named_with_its_line(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "nobody knows the home folder behind its ~; write the path in full"
    text = "device: cpu\nmodels_dir: ~no-such-user/models\n"
    assert complaint(config, text) == f"{config}, line 2: models_dir: {said}"
    monkeypatch.setenv("ENRICH_MODELS_DIR", "models")
    assert complaint(config, text).startswith(f"{config}, line 2: models_dir: ")
    monkeypatch.setenv("ENRICH_CATALOG", "sqlite:///~no-such-user/c.db")
    assert complaint(config, "device: cpu\n") == f"environment: ENRICH_CATALOG: {said}"


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite:////var/lib/c.db", "postgresql+psycopg://u@h/name"]
)
def test_a_url_without_a_relative_path_stays_as_it_is(config: Path, url: str) -> None:
    config.write_text(f"catalog: '{url}'\n")
    assert settings.load(config).catalog == url


@pytest.mark.parametrize(
    ("paths", "index", "said"),
    [
        (("a", "b", "a"), 2, "{a} is a root already (roots.0)"),
        (("a", "b", "./c/../a/"), 2, "{a} is a root already (roots.0)"),
        (("a", "b", "a/in/deep"), 2, "{a}/in/deep lies inside the root {a}, which covers it"),
        (("a/in", "b", "a"), 0, "{a}/in lies inside the root {a}, which covers it"),
        (("/", "b"), 1, "{b} lies inside the root /, which covers it"),
    ],
)
def test_roots_that_overlap_are_both_named(
    config: Path, paths: tuple[str, ...], index: int, said: str
) -> None:
    expected = said.format(a=config.parent / "a", b=config.parent / "b")
    text = "roots:\n" + "".join(f"- path: {path}\n" for path in paths)
    assert complaint(config, text) == f"{config}, line {index + 2}: roots.{index}.path: {expected}"


def test_roots_that_overlap_are_blamed_on_whoever_named_them(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("roots: [{path: a}]\n")
    monkeypatch.setenv("ENRICH_ROOTS", '[{"path": "/p/in"}, {"path": "/p"}]')
    assert complaint(config).startswith("environment: ENRICH_ROOTS: /p/in lies inside the root /p")
    given = [{"path": "/q"}, {"path": "/q"}]
    assert complaint(config, roots=given).startswith("command line: roots.1.path: /q is a root already")


def test_roots_with_names_that_begin_alike_do_not_overlap(config: Path) -> None:
    config.write_text("roots: [{path: a}, {path: ab}, {path: b/a}]\n")
    assert len(settings.load(config).roots) == 3


def test_home_is_expanded_and_links_keep_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    config = tmp_path / "config.yaml"
    config.write_text("models_dir: ~/m\ncatalog: sqlite:///~/c.db\nroots: [{path: link}]\n")
    loaded = settings.load(config)
    assert loaded.models_dir == Path("/home/ada/m")
    assert loaded.catalog == "sqlite:////home/ada/c.db"
    assert loaded.roots[0].path == tmp_path / "link"


def test_the_working_folders_config_is_taken_unless_another_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("device: cpu\n")
    (tmp_path / "other.yaml").write_text("device: cuda\n")
    assert settings.load(folder=tmp_path).device == "cpu"
    assert settings.load(tmp_path / "other.yaml", folder=tmp_path).device == "cuda"


def test_without_any_file_the_samples_steps_run_and_nothing_is_watched(tmp_path: Path) -> None:
    loaded = settings.load(folder=tmp_path)
    assert set(loaded.steps) == {"colors", "quality", "ocr"}
    assert loaded.roots == ()
    assert loaded.catalog == f"sqlite:///{tmp_path}/catalog.db"


def test_settings_cannot_be_changed(config: Path) -> None:
    config.write_text("roots: [{path: a}]\nsteps: {ocr: {plugin: ocr}}\n")
    loaded = settings.load(config)
    for section, key in (
        (loaded, "device"),
        (loaded.metrics, "port"),
        (loaded.roots[0], "mode"),
        (loaded.steps["ocr"], "model"),
    ):
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(section, key, "cpu")


def test_uploads_lie_beside_the_file_that_names_them(config: Path, tmp_path: Path) -> None:
    config.write_text("api: {uploads_dir: sent}")
    assert settings.load(config).api.uploads_dir == tmp_path / "sent"
    elsewhere = tmp_path / "elsewhere"
    config.write_text("")
    assert settings.load(config, folder=elsewhere).api.uploads_dir == elsewhere / "uploads"


def test_no_step_has_the_name_of_requests(config: Path) -> None:
    config.write_text("steps:\n  api: {plugin: colors}\n")
    with pytest.raises(ConfigError, match=r"line 2: steps\.api: the name is that of requests over HTTP"):
        settings.load(config)


def test_a_wrong_cost_is_named_by_its_line(config: Path) -> None:
    config.write_text("api:\n  cost:\n    some-model: -1\n")
    with pytest.raises(ConfigError, match=r"line 3: api\.cost\.some-model: "):
        settings.load(config)


def test_the_model_alone_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENRICH_DEVICE", "cuda")
    assert Settings().device == "auto"


def test_the_config_at_the_root_is_the_one_that_init_writes() -> None:
    assert (ROOT / "config.yaml").read_text() == settings.sample()


def test_the_sample_config_says_the_defaults(tmp_path: Path) -> None:
    """Every value of it but the example's own is what holds without it."""
    loaded = settings.load(ROOT / "config.yaml", folder=tmp_path)
    defaults = Settings(
        roots=[{"path": ROOT / "inbox"}],
        catalog=f"sqlite:///{ROOT}/catalog.db",
        api={"uploads_dir": ROOT / "uploads"},
    )
    same = set(Settings.model_fields) - {"steps", "models_dir"}
    assert loaded.model_dump(include=same) == defaults.model_dump(include=same)
    assert loaded.models_dir == defaults.models_dir.expanduser()


def test_paths_among_a_plugins_options_are_relative_to_the_file(config: Path, tmp_path: Path) -> None:
    config.write_text("steps: {t: {plugin: tags, vocabulary: words.txt}}")
    assert settings.load(config).steps["t"].folder == tmp_path
    elsewhere = tmp_path / "elsewhere"
    assert settings.load(None, folder=elsewhere).steps["colors"].folder == elsewhere
    assert settings.Step(plugin="tags").folder == Path()


def test_the_engines_lie_where_the_file_says(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("providers: {tensorrt: {enabled: true, cache_dir: engines}}\n")
    assert settings.load(config).providers.tensorrt.cache_dir == config.parent / "engines"
    monkeypatch.setenv("ENRICH_PROVIDERS__TENSORRT__CACHE_DIR", "elsewhere")
    assert settings.load(config).providers.tensorrt.cache_dir == Path.cwd() / "elsewhere"
    config.write_text("providers:\n  # cuda: {}\n")
    monkeypatch.delenv("ENRICH_PROVIDERS__TENSORRT__CACHE_DIR")
    assert settings.load(config).providers == Providers()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("providers: {openvino: {device_type: TPU}}", "providers.openvino.device_type"),
        ("providers: {openvino: {precision: bf17}}", "providers.openvino.precision"),
        ("providers: {cuda: {memory_limit_bytes: 5}}", "providers.cuda.memory_limit_bytes"),
        ("providers: {rocm: {}}", "providers.rocm"),
        ("unload_after_seconds: -1", "unload_after_seconds"),
        ("recycle_above_mb: 0", "recycle_above_mb"),
    ],
)
def test_what_no_provider_takes_is_refused_by_its_key(config: Path, text: str, key: str) -> None:
    assert f"config.yaml, line 1: {key}: " in complaint(config, text)
