"""``enrich models pull``, in processes of its own, from a server that speaks the hub's protocol."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import hub_server
import pytest
import sqlalchemy as sa
import tiny_graphs
from forks import Attempt, ForkServer, shared
from hub_server import Hub, Repository
from onnx import TensorProto, helper
from small_disk import check_inside, mount, needs_mounts
from workplace import Workplace

NAME = "someone/colours"
TARGET = f"hf:{NAME}"
WEIGHTS = "onnx/model.onnx_data"
WEIGHTS_BYTES = 1_000_000

DISK_BYTES = 2_000_000

CONFIG = {
    "architectures": ["ViTForImageClassification"],
    "id2label": {"0": "red", "1": "green", "2": "blue"},
}
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "image_mean": [0, 0, 0],
    "image_std": [1, 1, 1],
    "size": {"height": 8, "width": 8},
}


def graph(weights: str) -> bytes:
    """The colour means, with three numbers of a file added to them that is larger than they are."""
    means = helper.make_node("ReduceMean", ["pixels"], ["means"], axes=(2, 3), keepdims=0)
    add = helper.make_node("Add", ["means", "shift"], ["scores"])
    shift = TensorProto(name="shift", data_type=TensorProto.FLOAT, dims=[3])
    shift.data_location = TensorProto.EXTERNAL
    for key, value in {"location": weights, "offset": "0", "length": "12"}.items():
        shift.external_data.add(key=key, value=value)
    shape = ["batch", 3, 8, 8]
    body = helper.make_graph(
        [means, add],
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])],
        [shift],
    )
    opset = [helper.make_opsetid("", tiny_graphs.OPSET)]
    model = helper.make_model(body, opset_imports=opset, ir_version=tiny_graphs.IR_VERSION)
    content: bytes = model.SerializeToString()
    return content


def files(**more: bytes) -> dict[str, bytes]:
    """A repository of a classifier, with what nobody needs."""
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "preprocessor_config.json": json.dumps(PROCESSOR).encode(),
        "onnx/model.onnx": graph("model.onnx_data"),
        WEIGHTS: bytes(12) + os.urandom(WEIGHTS_BYTES - 12),
        "pytorch_model.bin": b"pickled" * 1000,
        "model.safetensors": b"weights" * 1000,
        "modeling_colours.py": b"import os",
        ".gitattributes": b"*.onnx filter=lfs",
        "README.md": b"# Colours",
        **more,
    }


TAKEN = {"config.json", "preprocessor_config.json", "onnx/model.onnx", WEIGHTS}


@pytest.fixture(scope="module")
def server() -> ForkServer:
    return shared()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server.serving() as hub:
        hub.repositories[NAME] = Repository(files())
        yield hub


class User:
    """Someone with a models_dir and a command line."""

    def __init__(self, server: ForkServer, hub: Hub, folder: Path) -> None:
        self._server, self._hub = server, hub
        self.place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
        self.models = folder / "models"
        self.place.config["models_dir"] = "models"
        self.environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf")}

    def starts(self, *arguments: str, **environment: str) -> Attempt:
        return self._server.start(self.place, *arguments, environment=self.environment | environment)

    def says(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Run a command to its end, and return what it said."""
        attempt = self.starts(*arguments, **environment)
        assert attempt.wait() == code, attempt.said
        return attempt.said

    def pulls(self, *arguments: str, code: int = 0, **environment: str) -> str:
        return self.says("models", "pull", *(arguments or (TARGET,)), code=code, **environment)

    def manifest(self, name: str = "colours") -> dict:
        return json.loads((self.models / name / "manifest.json").read_text())

    def check_whole(self, name: str = "colours", repository: str = NAME) -> None:
        """Everything of the repository that is needed is here, byte for byte, and it runs."""
        manifest, served = self.manifest(name), self._hub.repositories[repository]
        listed = {one["path"]: one["sha256"] for one in manifest["files"]}
        found = {
            path.relative_to(self.models / name).as_posix()
            for path in (self.models / name).rglob("*")
            if path.is_file()
        }
        assert found == listed.keys() | {"manifest.json"}
        for path, digest in listed.items():
            content = (self.models / name / path).read_bytes()
            assert content == served.files[path]
            assert hashlib.sha256(content).hexdigest() == digest
        assert manifest["revision"] == served.commit
        assert self.says("models", "verify", name) == f"{name}: good\n"

    def check_nothing(self) -> None:
        """Nothing is here that could be taken for a model."""
        visible = [path.name for path in self.models.glob("*") if not path.name.startswith(".")]
        assert visible == []
        assert "colours" not in self.says("models", "list")

    def staged(self) -> list[str]:
        """What waits to be gone on with."""
        folder = self.models / ".incoming"
        return sorted(
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".lock-")
        )


@pytest.fixture
def user(server: ForkServer, hub: Hub, tmp_path: Path) -> User:
    return User(server, hub, tmp_path)


# Whole


def test_a_model_comes_whole_and_only_what_is_needed_of_it(user: User, hub: Hub) -> None:
    assert "pulled colours at " in user.pulls()

    user.check_whole()
    assert {one["path"] for one in user.manifest()["files"]} == TAKEN
    assert user.manifest()["source"] == TARGET
    assert user.manifest()["licence"] == "apache-2.0"
    assert user.manifest()["variants"]["fp32"]["graphs"] == {"model": "onnx/model.onnx"}
    assert not any(path.is_symlink() for path in user.models.rglob("*"))
    assert user.staged() == []
    # Nothing else is asked of the hub, and nothing that tells it who asks.
    asked = {
        place.removeprefix(f"/{NAME}/resolve/{hub.repositories[NAME].commit}/") for _, place, _ in hub.asked
    }
    stored = {f"/stored/{NAME}/{WEIGHTS}"}
    assert asked == TAKEN | stored | {f"/api/models/{NAME}/revision/main"}


def test_a_second_pull_of_the_same_revision_does_nothing(user: User, hub: Hub) -> None:
    user.pulls()
    before = {path: path.stat().st_mtime_ns for path in user.models.rglob("*") if path.is_file()}
    hub.asked.clear()

    assert "was there already" in user.pulls()
    commit = hub.repositories[NAME].commit
    assert [place for _, place, _ in hub.asked] == [f"/api/models/{NAME}/revision/main"]
    hub.asked.clear()
    assert "was there already" in user.pulls(f"{TARGET}@{commit}")
    assert hub.asked == [], "a commit never changes"
    after = {path: path.stat().st_mtime_ns for path in user.models.rglob("*") if path.is_file()}
    assert {path for path in before if after[path] != before[path]} <= {
        user.models / ".incoming/.lock-colours"
    }


def test_a_newer_revision_replaces_the_old_one_and_takes_no_more_than_what_is_new(
    user: User, hub: Hub
) -> None:
    user.pulls()
    old = hub.repositories[NAME].commit
    hub.repositories[NAME].files["config.json"] += b"\n"
    hub.repositories[NAME].files["onnx/model_fp16.onnx"] = graph("model.onnx_data")

    said = json.loads(user.pulls(TARGET, "--json"))
    assert said["is_new"] is True
    assert said["revision"] == hub.repositories[NAME].commit != old
    user.check_whole()


def test_the_pulled_model_works_by_every_name_it_has(user: User) -> None:
    user.pulls()
    user.place.draw("red.png", (200, 10, 10))
    user.place.config["steps"] = {
        "one": {"plugin": "tags", "model": TARGET},
        "two": {"plugin": "tags", "model": "colours"},
    }
    user.says("run")

    with user.place.engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT DISTINCT model FROM generators")).scalars().all()
        tags = connection.execute(sa.text("SELECT step, tag FROM asset_tags ORDER BY confidence DESC")).all()
    assert rows == ["colours"]
    assert {tag for _, tag in tags[:2]} == {"red"}


# Interrupted


class Pause:
    """Holds the server in the middle of a file, until it is told to go on."""

    def __init__(self, hub: Hub, path: str, after: int) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._path, self._after = path, after
        hub.on_block = self._hold

    def _hold(self, path: str, sent: int) -> None:
        if path == self._path and sent >= self._after and not self.reached.is_set():
            self.reached.set()
            self.go_on.wait(30)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_what_was_interrupted_is_no_model_and_goes_on_where_it_was(
    user: User, hub: Hub, number: int, code: int
) -> None:
    pause = Pause(hub, WEIGHTS, WEIGHTS_BYTES // 2)
    attempt = user.starts("models", "pull", TARGET)
    attempt.wait_until(pause.reached.is_set)
    (partial,) = (user.models / ".incoming").rglob("*.partial")
    attempt.wait_until(lambda: partial.stat().st_size >= WEIGHTS_BYTES // 3)
    attempt.send_signal(number)
    assert attempt.wait() == code, attempt.said
    pause.go_on.set()
    hub.on_block = lambda path, sent: None
    user.check_nothing()
    have = partial.stat().st_size
    assert "colours/config.json" in user.staged()

    assert "pulled" in user.pulls()
    assert hub.sent(WEIGHTS)[-1] == have >= WEIGHTS_BYTES // 3
    assert len(hub.sent("/config.json")) == 1
    user.check_whole()
    assert user.staged() == []


def test_a_cut_connection_is_gone_on_with_at_once(user: User, hub: Hub) -> None:
    hub.cuts[WEIGHTS] = [WEIGHTS_BYTES // 2]

    user.pulls()
    first, second = hub.sent(f"stored/{NAME}/{WEIGHTS}")
    assert (first, second > 0) == (0, True)
    user.check_whole()


def test_a_server_that_knows_no_ranges_sends_it_all_again(user: User, hub: Hub) -> None:
    hub.takes_ranges = False
    hub.cuts[WEIGHTS] = [WEIGHTS_BYTES // 2]

    user.pulls()
    user.check_whole()


def test_what_is_staged_of_another_content_is_not_gone_on_with(user: User, hub: Hub) -> None:
    pause = Pause(hub, WEIGHTS, WEIGHTS_BYTES // 2)
    attempt = user.starts("models", "pull", TARGET)
    attempt.wait_until(pause.reached.is_set)
    attempt.kill()
    attempt.wait()
    pause.go_on.set()
    hub.repositories[NAME].files[WEIGHTS] = bytes(WEIGHTS_BYTES)

    user.pulls()
    assert hub.sent(f"stored/{NAME}/{WEIGHTS}")[-1] == 0
    user.check_whole()
    assert user.staged() == []


def test_two_pulls_of_one_model_do_not_meet(user: User, hub: Hub) -> None:
    pause = Pause(hub, WEIGHTS, WEIGHTS_BYTES // 2)
    attempt = user.starts("models", "pull", TARGET)
    attempt.wait_until(pause.reached.is_set)
    assert "another process is pulling or removing colours now" in user.pulls(code=2)
    assert "another process" in user.says("models", "remove", "colours", code=2)
    pause.go_on.set()
    assert attempt.wait() == 0
    user.check_whole()


# Refused


@pytest.mark.parametrize("path", [WEIGHTS, "config.json"])
def test_a_file_that_is_not_what_was_promised_is_thrown_away(user: User, hub: Hub, path: str) -> None:
    hub.repositories[NAME].forged.add(path)

    assert f"{path}: its " in (said := user.pulls(code=1))
    assert "was promised: damaged on its way, or altered" in said
    user.check_nothing()
    assert not any(path in one for one in user.staged())
    hub.repositories[NAME].forged.clear()
    user.pulls()
    user.check_whole()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (f"{TARGET}@v0.9", f"{TARGET} has no revision v0.9, or not any more"),
        (f"{TARGET}@{'0' * 40}", "or not any more"),
        ("hf:someone/nothing", "has no such repository, or it is private"),
        ("birds", "is not on the list; it has blip-image-captioning-base"),
    ],
)
def test_what_is_not_there_is_said_so(user: User, target: str, message: str) -> None:
    assert message in user.pulls(target, code=3)
    user.check_nothing()


@pytest.mark.parametrize("target", ["hf:colours", "hf:../../x/y", "hf:a/b/c", "hf:"])
def test_what_cannot_be_a_repository_is_wrong_use(user: User, target: str) -> None:
    user.pulls(target, code=2)


def test_a_gated_repository_says_what_to_do_and_takes_a_token(user: User, hub: Hub) -> None:
    hub.repositories[NAME].token, hub.repositories[NAME].is_gated = "hf_secret", True

    said = user.pulls(code=3)
    assert f"is gated: accept its terms at https://huggingface.co/{NAME}" in said
    assert "HF_TOKEN" in said
    user.check_nothing()
    pause = Pause(hub, WEIGHTS, WEIGHTS_BYTES // 2)
    attempt = user.starts("models", "pull", TARGET, HF_TOKEN="hf_secret")
    attempt.wait_until(pause.reached.is_set)
    (partial,) = (user.models / ".incoming").rglob("*.partial")
    attempt.wait_until(lambda: partial.stat().st_size > 0)
    attempt.kill()
    attempt.wait()
    pause.go_on.set()
    user.pulls(code=3)
    assert partial.exists(), "a forgotten token costs nothing"
    assert "hf_secret" not in user.pulls(HF_TOKEN="hf_secret")
    assert hub.sent(WEIGHTS)[-1] > 0
    user.check_whole()


def test_a_private_repository_takes_a_token(user: User, hub: Hub) -> None:
    hub.repositories[NAME].token = "hf_secret"

    assert "for a private one set HF_TOKEN" in user.pulls(code=3)
    assert "set HF_TOKEN" in user.pulls(code=3, HF_TOKEN="hf_wrong")
    user.pulls(HF_TOKEN="hf_secret")


@pytest.mark.parametrize("status", [500, 429, 403])
def test_a_hub_that_refuses_is_said_so(user: User, hub: Hub, status: int) -> None:
    hub.status = status

    assert f"{status}" in user.pulls(code=3 if status == 403 else 1)
    user.check_nothing()


def test_what_is_no_hub_is_said_so_and_no_password_with_it(user: User, hub: Hub) -> None:
    hub.status = 200

    said = user.pulls(code=1, HF_ENDPOINT=hub.url.replace("http://", "http://me:hf_secret@"))
    assert f"{hub.url} does not answer as the hub does; check HF_ENDPOINT" in said
    assert "hf_secret" not in said


def test_a_hub_that_is_down_harms_nothing(user: User, hub: Hub) -> None:
    user.pulls()
    with hub_server.serving() as gone:
        pass

    said = user.pulls(code=1, HF_ENDPOINT=gone.url)
    assert f"{gone.url} cannot be reached" in said
    assert "HF_ENDPOINT" in said
    user.check_whole()


def test_a_repository_without_onnx_files_names_the_command_that_makes_them(user: User, hub: Hub) -> None:
    kept = {name: content for name, content in files().items() if "onnx" not in name}
    hub.repositories[NAME] = Repository(kept)
    hub.repositories["nateraw/vit-age-classifier"] = Repository(kept)

    said = user.pulls("hf:nateraw/vit-age-classifier", code=3)
    assert "run: enrich models export vit-age-classifier" in said
    assert f"{TARGET} has no ONNX files; run: enrich models export {TARGET}" in user.pulls(code=3)
    hub.asked.clear()
    said = user.pulls("runware:153@1", code=3)
    assert "run: enrich models export vit-age-classifier (or, if a repository has such files: enrich" in said
    assert "run: enrich models export vit-age-classifier --as ages" in user.pulls(
        "runware:153@1", "--as", "ages", code=3
    )
    assert hub.asked == [], "the list knows"
    user.check_nothing()


def test_what_no_family_runs_is_refused_before_its_weights_are_asked_for(user: User, hub: Hub) -> None:
    config = json.dumps({"architectures": ["OracleModel"]}).encode()
    hub.repositories[NAME].files["config.json"] = config

    assert "architectures: OracleModel is none of" in user.pulls(code=1)
    assert hub.sent(".onnx") == []
    user.check_nothing()
    assert user.staged() == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"{", f"{TARGET}/config.json, line 1: not JSON"),
        (b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", f"{TARGET}/config.json: cannot be read: "),
        (b'{"a": ' + b"9" * 5_000 + b"}", f"{TARGET}/config.json: cannot be read: "),
    ],
    ids=["broken", "deep", "digits"],
)
def test_a_configuration_that_cannot_be_read_is_said_by_the_name_it_has_on_the_hub(
    user: User, hub: Hub, config: bytes, message: str
) -> None:
    hub.repositories[NAME].files["config.json"] = config

    assert message in user.pulls(code=1)
    assert user.staged() == []


def test_a_graph_whose_weights_lead_out_is_refused(user: User, hub: Hub) -> None:
    hub.repositories[NAME].files["onnx/model.onnx"] = graph("../../../../../../etc/hostname")

    assert "leads out of its folder; that is refused" in user.pulls(code=1)
    user.check_nothing()
    assert user.staged() == []


def test_names_that_lead_out_are_never_written(user: User, hub: Hub) -> None:
    hub.repositories[NAME].files |= {
        "../evil.json": b"{}",
        "onnx/../../evil.onnx": b"x",
        "/tmp/evil.json": b"{}",
    }

    user.pulls()
    user.check_whole()
    assert not list(user.place.folder.rglob("evil*"))


def test_weights_that_are_served_from_where_they_lead_to_are_refused_too(user: User, hub: Hub) -> None:
    hub.repositories[NAME].files["onnx/model.onnx"] = graph("../../../evil.bin")
    hub.repositories[NAME].files["onnx/../../../evil.bin"] = bytes(12)

    assert "onnx/../../../evil.bin leads out of the model's folder; that is refused" in user.pulls(code=1)
    user.check_nothing()
    assert not list(user.place.folder.rglob("evil*"))


def test_weights_under_a_name_of_their_own_come_too(user: User, hub: Hub) -> None:
    served = hub.repositories[NAME].files
    served["onnx/model.onnx"] = graph("weights.bin")
    served["onnx/weights.bin"] = served.pop(WEIGHTS)

    user.pulls()
    user.check_whole()


# Variants and names


@pytest.fixture
def variants(hub: Hub) -> dict[str, bytes]:
    served = hub.repositories[NAME].files
    for ending in ("fp16", "quantized"):
        served[f"onnx/model_{ending}.onnx"] = graph(f"model_{ending}.onnx_data")
        served[f"onnx/model_{ending}.onnx_data"] = bytes(12) + os.urandom(5000)
    return served


def test_the_variant_suits_the_device(user: User, variants: dict[str, bytes]) -> None:
    assert ", fp16, " in user.pulls(TARGET, "--device", "cuda:0")
    assert {path.name for path in (user.models / "colours/onnx").iterdir()} == {
        "model_fp16.onnx",
        "model_fp16.onnx_data",
    }
    user.check_whole()
    user.place.config["device"] = "cuda"
    assert ", fp16, " in user.pulls(TARGET, "--as", "other")
    user.place.config["device"] = "auto"
    assert ", fp32, " in user.pulls(TARGET, "--as", "third", "--device", "cpu")
    assert "was there already: third" in user.pulls(TARGET, "--as", "third", "--device", "cpu")


def test_another_variant_comes_besides_and_what_was_made_here_stays(
    user: User, hub: Hub, variants: dict[str, bytes]
) -> None:
    user.pulls()
    folder, manifest = user.models / "colours", user.manifest()
    shutil.copy(folder / "onnx/model.onnx", folder / "onnx/own.onnx")
    manifest["variants"]["own"] = {"graphs": {"model": "onnx/own.onnx"}, "agreement": {"top1": 0.9}}
    manifest["description"] = "mine"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    hub.asked.clear()

    assert ", int8, " in user.pulls(TARGET, "--variant", "int8")
    now = user.manifest()
    assert now["variant"] == "int8"
    assert now["variants"].keys() == {"fp32", "own", "int8"}
    assert now["description"] == "mine"
    assert (folder / "onnx/own.onnx").is_file()
    assert hub.sent(WEIGHTS) == [], "it was here"
    assert user.says("models", "verify", "colours") == "colours: good\n"
    hub.asked.clear()
    assert ", fp32, " in user.pulls(TARGET, "--variant", "fp32")
    assert user.manifest()["variant"] == "fp32"
    assert hub.sent(".onnx") == [], "it was here too"


def test_a_variant_that_is_not_there_is_wrong_use(user: User, variants: dict[str, bytes]) -> None:
    assert f"{TARGET} has no variant q4; it has: fp32, fp16, int8" in user.pulls(
        TARGET, "--variant", "q4", code=2
    )
    assert "no variant int2; there are: fp32" in user.pulls(TARGET, "--variant", "int2", code=2)
    user.check_nothing()


def test_a_model_of_another_origin_is_not_overwritten(user: User, hub: Hub) -> None:
    tiny_graphs.write_model(user.models / "colours")
    before = (user.models / "colours/manifest.json").read_bytes()

    assert "is there already and is your own, not of hf:someone/colours; choose another" in user.pulls(code=2)
    assert (user.models / "colours/manifest.json").read_bytes() == before
    user.pulls(TARGET, "--as", "theirs")
    user.check_whole("theirs")
    hub.repositories["else/theirs"] = Repository(files())
    assert f"is of {TARGET}, not of hf:else/theirs" in user.pulls("hf:else/theirs", code=2)


def test_a_listed_model_comes_under_its_own_name(user: User, hub: Hub) -> None:
    hub.repositories["nateraw/vit-age-classifier"] = Repository(files(), licence=None)

    user.pulls("hf:nateraw/vit-age-classifier")
    user.check_whole("vit-age-classifier", "nateraw/vit-age-classifier")
    assert user.manifest("vit-age-classifier")["hooks"] == ["enrich_age"]
    assert user.manifest("vit-age-classifier")["licence"] == "none stated"
    rows = json.loads(user.says("models", "list", "--available", "--json"))
    assert [row["name"] for row in rows if row["is_here"]] == ["vit-age-classifier"]
    assert "removed" in user.says("models", "remove", "runware:153@1")
    user.check_nothing()
    assert "run: enrich models list" in user.says("models", "remove", "vit-age-classifier", code=3)


def test_all_that_are_named_are_verified_and_one_that_is_missing_is_said(user: User) -> None:
    user.pulls()
    assert user.says("models", "verify", "colours", "hf:someone/colours") == (
        "colours: good\nhf:someone/colours: good\n"
    )
    with (user.models / "colours" / WEIGHTS).open("ab") as file:
        file.write(b"x")
    rows = json.loads(user.says("models", "verify", "colours", "drawings-age", "--json", code=1))
    assert [(row["name"], len(row["problems"])) for row in rows] == [("colours", 2), ("drawings-age", 0)]
    said = user.says("models", "verify", "nothing", "colours", "drawings-age", code=3)
    assert 'nothing: no model "nothing" in ' in said
    assert f"{WEIGHTS}: " in said
    assert said.endswith("drawings-age: good\n")


def test_what_came_with_enrich_stays(user: User) -> None:
    assert "drawings-vlm came with enrich" in user.says("models", "remove", "drawings-vlm", code=2)
    assert "caption, answer" in user.says("models", "list")


# Without a network


def test_without_a_network_what_is_here_is_enough(user: User, hub: Hub) -> None:
    user.pulls()
    hub.asked.clear()

    assert "was there already" in user.pulls(HF_HUB_OFFLINE="1")
    assert "was there already" in user.pulls(TARGET, "--device", "cuda", HF_HUB_OFFLINE="1")
    assert hub.asked == []
    assert "HF_HUB_OFFLINE forbids the network" in user.pulls("hf:someone/else", code=3, HF_HUB_OFFLINE="1")


def test_without_a_network_the_hubs_cache_is_used(user: User, hub: Hub) -> None:
    fill = f"import huggingface_hub; huggingface_hub.snapshot_download({NAME!r})"
    others = {**os.environ, **user.environment, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    subprocess.run([sys.executable, "-c", fill], env=others, check=True, capture_output=True)
    hub.asked.clear()

    user.pulls(HF_HUB_OFFLINE="1")
    assert hub.asked == []
    user.check_whole()
    assert not any(path.is_symlink() for path in user.models.rglob("*"))


def test_a_damaged_cache_is_noticed(user: User, hub: Hub) -> None:
    test_without_a_network_the_hubs_cache_is_used(user, hub)
    user.says("models", "remove", "colours")
    (cached,) = Path(user.environment["HF_HOME"]).rglob(f"snapshots/*/{WEIGHTS}")
    blob = cached.resolve()
    blob.chmod(0o644)
    blob.write_bytes(b"x" + blob.read_bytes()[1:])

    assert f"{WEIGHTS}: its sha256 is" in user.pulls(code=1, HF_HUB_OFFLINE="1")
    user.check_nothing()


# Without room


@needs_mounts
@pytest.mark.parametrize("name", ["too_large_from_the_start", "filled_meanwhile"])
def test_a_full_disk_leaves_no_half_model(tmp_path: Path, name: str) -> None:
    check_inside(__file__, name, tmp_path)


def too_large_from_the_start(user: User, hub: Hub, disk: Path) -> None:
    (disk / "ballast").write_bytes(bytes(DISK_BYTES - WEIGHTS_BYTES))

    assert "left, and 1.0 MB are to come: make room" in user.pulls(code=1)
    user.check_nothing()
    assert hub.sent(WEIGHTS) == [], "it was known before"
    (disk / "ballast").unlink()
    user.pulls()
    user.check_whole()


def filled_meanwhile(user: User, hub: Hub, disk: Path) -> None:
    def fill(path: str, sent: int) -> None:
        if path == WEIGHTS and sent >= WEIGHTS_BYTES // 2 and not (disk / "ballast").exists():
            (partial,) = disk.rglob("*.partial")
            until = time.monotonic() + 30
            while partial.stat().st_size < WEIGHTS_BYTES // 3 and time.monotonic() < until:
                time.sleep(0.01)  # what was sent is written later
            with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
                while True:
                    ballast.write(bytes(1000))

    hub.on_block = fill
    assert "is full: make room, or set models_dir; what came so far is kept" in user.pulls(code=1)
    user.check_nothing()
    (disk / "ballast").unlink()
    hub.on_block = lambda path, sent: None
    user.pulls()
    assert hub.sent(WEIGHTS)[-1] > 0, "it went on"
    user.check_whole()


def _main(name: str, folder: Path) -> None:
    disk = mount(folder, DISK_BYTES)
    (folder / "place").mkdir()
    with hub_server.serving() as hub:
        hub.repositories[NAME] = Repository(files())
        user = User(shared(), hub, folder / "place")
        user.models = disk / "models"
        user.place.config["models_dir"] = str(user.models)
        globals()[name](user, hub, disk)


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
