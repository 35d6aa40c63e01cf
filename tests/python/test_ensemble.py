"""Ensembles: models chained by their configs, asked over both protocols as if they were one model."""

import json
import pathlib
import queue
import shutil
import signal
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

import digits
import models
from nereid_process import Nereid, serving, wait_until

WAIT_S = 30
IMAGE = ("FP32", [1, 28, 28])
LOGITS = ("FP32", [10])
ROW = ("INT32", [16])


def build(folder: pathlib.Path) -> pathlib.Path:
    """`mnist` is mnist_mlp and an identity, `twice` a diamond of add_sub, `mixed` goes through a model that does not batch."""
    shutil.copytree(models.ROOT / "model_repository/mnist_mlp", folder / "mnist_mlp")
    models.write_identity(folder, "logits", [LOGITS], max_batch_size=8)
    models.write_ensemble(
        folder,
        "mnist",
        {"input": IMAGE},
        {"output": LOGITS},
        [("mnist_mlp", {"input": "input"}, {"output": "logits"}), ("logits", {"INPUT0": "logits"}, {"OUTPUT0": "output"})],
    )
    models.write(folder, "add_sub", models.add_sub(), models.ADD_SUB_CONFIG)
    models.write_identity(folder, "left", [ROW], max_batch_size=8)
    models.write_identity(folder, "right", [ROW], max_batch_size=8)
    models.write_ensemble(
        folder,
        "twice",
        {"INPUT0": ROW, "INPUT1": ROW},
        {"OUTPUT0": ROW, "OUTPUT1": ROW},
        [
            ("add_sub", {"INPUT0": "sum", "INPUT1": "difference"}, {"OUTPUT0": "OUTPUT0", "OUTPUT1": "OUTPUT1"}),
            ("left", {"INPUT0": "l"}, {"OUTPUT0": "sum"}),
            ("right", {"INPUT0": "r"}, {"OUTPUT0": "difference"}),
            ("add_sub", {"INPUT0": "INPUT0", "INPUT1": "INPUT1"}, {"OUTPUT0": "l", "OUTPUT1": "r"}),
        ],
        more="max_inflight_requests: 1",
    )
    models.write_identity(folder, "rows", [("INT32", [-1, 16])])
    models.write_identity(folder, "one_row", [ROW])
    models.write_ensemble(
        folder,
        "mixed",
        {"INPUT0": ROW},
        {"OUTPUT0": ROW},
        [("rows", {"INPUT0": "INPUT0"}, {"OUTPUT0": "t"}), ("left", {"INPUT0": "t"}, {"OUTPUT0": "OUTPUT0"})],
    )
    models.write_ensemble(
        folder,
        "single",
        {"INPUT0": ROW},
        {"OUTPUT0": ROW},
        [("left", {"INPUT0": "INPUT0"}, {"OUTPUT0": "t"}), ("one_row", {"INPUT0": "t"}, {"OUTPUT0": "OUTPUT0"})],
    )
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    folder = build(tmp_path_factory.mktemp("ensembles"))
    with serving(folder, tmp_path_factory.mktemp("server") / "log") as process:
        yield process


@pytest.fixture(params=[httpclient, grpcclient], ids=["http", "grpc"])
def module(request: pytest.FixtureRequest):
    return request.param


def connect(server: Nereid, module):
    return module.InferenceServerClient(server.http if module is httpclient else server.grpc)


def tensor(module, name: str, values: np.ndarray):
    datatype = {"float32": "FP32", "int32": "INT32"}[values.dtype.name]
    made = module.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


def statistics(server: Nereid, model: str) -> dict:
    with httpclient.InferenceServerClient(server.http) as client:
        return client.get_inference_statistics(model)["model_stats"][0]


def succeeded(server: Nereid, model: str) -> int:
    return statistics(server, model)["inference_stats"]["success"]["count"]


def test_answers_are_those_of_the_models(server: Nereid, module, expected: np.ndarray) -> None:
    images = digits.images()
    with connect(server, module) as client:
        for rows in (1, 8):
            result = client.infer("mnist", [tensor(module, "input", images[:rows])], request_id="i")
            np.testing.assert_allclose(result.as_numpy("output"), expected[:rows], rtol=1e-4, atol=1e-4)
            response = result.get_response()
            assert (response["id"] if module is httpclient else response.id) == "i"


def test_branches_meet_again_and_one_output_is_enough(server: Nereid, module) -> None:
    a, b = np.arange(16, dtype=np.int32)[None], np.full([1, 16], 3, np.int32)
    inputs = [tensor(module, "INPUT0", a), tensor(module, "INPUT1", b)]
    with connect(server, module) as client:
        result = client.infer("twice", inputs)
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), 2 * a)
        np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), 2 * b)
        result = client.infer("twice", inputs, outputs=[module.InferRequestedOutput("OUTPUT1")])
        assert result.as_numpy("OUTPUT0") is None
        np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), 2 * b)


def test_batches_go_through_models_that_do_not_batch(server: Nereid, module) -> None:
    with connect(server, module) as client:
        for model, rows in (("mixed", 1), ("mixed", 5), ("single", 1)):
            values = np.arange(16 * rows, dtype=np.int32).reshape(rows, 16)
            result = client.infer(model, [tensor(module, "INPUT0", values)])
            np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), values)
        with pytest.raises(InferenceServerException) as error:
            client.infer("single", [tensor(module, "INPUT0", np.zeros([2, 16], np.int32))], request_id="r")
    text = "in ensemble 'single', [request id: r] unexpected shape for input 'INPUT0' for model 'one_row'. Expected [16], got [2,16]. "
    assert error.value.message() == text
    assert error.value.status() == ("400" if module is httpclient else "StatusCode.INVALID_ARGUMENT")


def test_its_own_refusals_have_no_prefix(server: Nereid, module) -> None:
    with connect(server, module) as client, pytest.raises(InferenceServerException) as error:
        client.infer("mnist", [tensor(module, "input", np.zeros([9, 1, 28, 28], np.float32))])
    assert error.value.message() == "[request id: <id_unknown>] inference request batch-size must be <= 8 for 'mnist'"


def test_statistics_metadata_and_metrics(server: Nereid) -> None:
    with httpclient.InferenceServerClient(server.http) as client:
        metadata = client.get_model_metadata("mnist")
        assert (metadata["platform"], metadata["versions"]) == ("ensemble", ["1"])
        config = client.get_model_config("mnist")
        assert [step["model_name"] for step in config["ensemble_scheduling"]["step"]] == ["mnist_mlp", "logits"]
        before, parts = statistics(server, "mnist"), [succeeded(server, part) for part in ("mnist_mlp", "logits")]
        client.infer("mnist", [tensor(httpclient, "input", digits.images()[:3])])
    after = statistics(server, "mnist")
    assert after["inference_count"] == before["inference_count"] + 3
    assert after["execution_count"] == before["execution_count"] + 1
    assert {"3"} <= {str(batch["batch_size"]) for batch in after["batch_stats"]}
    assert [succeeded(server, part) for part in ("mnist_mlp", "logits")] == [count + 1 for count in parts]
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]
    series = f'nv_inference_exec_count{{model="mnist",version="1"}} {after["execution_count"]}'
    assert series in server.metrics().splitlines()


def test_streams_keep_order_and_say_which_sequence(server: Nereid) -> None:
    answers: queue.Queue[object] = queue.Queue()
    with grpcclient.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put(error or result))
        for n in range(20):
            values = np.full([1, 16], n, np.int32)
            flags = {"sequence_id": 7, "sequence_start": n == 0, "sequence_end": n == 19}
            client.async_stream_infer("mixed", [tensor(grpcclient, "INPUT0", values)], request_id=str(n), **flags)
        for n in range(20):
            result = answers.get(timeout=WAIT_S)
            assert isinstance(result, grpcclient.InferResult), result
            response = result.get_response()
            assert (response.id, result.as_numpy("OUTPUT0")[0][0]) == (str(n), n)
            parameters = response.parameters
            assert parameters["sequence_id"].int64_param == 7
            ends = (parameters["sequence_start"].bool_param, parameters["sequence_end"].bool_param)
            assert ends == (n == 0, n == 19)


def test_many_at_once(server: Nereid) -> None:
    """`twice` lets one request at a time into each step."""

    def ask(n: int) -> None:
        with httpclient.InferenceServerClient(server.http) as client:
            for k in range(20):
                a, b = np.full([1, 16], n, np.int32), np.full([1, 16], k, np.int32)
                result = client.infer("twice", [tensor(httpclient, "INPUT0", a), tensor(httpclient, "INPUT1", b)])
                if not ((result.as_numpy("OUTPUT0") == 2 * a).all() and (result.as_numpy("OUTPUT1") == 2 * b).all()):
                    wrong.append((n, k))

    wrong: list[tuple[int, int]] = []
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    before = succeeded(server, "twice")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert not wrong
    assert succeeded(server, "twice") == before + 160


def test_labels_of_the_model_that_makes_the_output(tmp_path: pathlib.Path, module, expected: np.ndarray) -> None:
    folder = tmp_path / "repository"
    shutil.copytree(models.ROOT / "model_repository/mnist_mlp", folder / "mnist_mlp")
    digits_in_words = (folder / "mnist_mlp/labels.txt").read_text().split()
    models.write_identity(folder, "same", [IMAGE], max_batch_size=8)
    steps = [("same", {"INPUT0": "input"}, {"OUTPUT0": "t"}), ("mnist_mlp", {"input": "t"}, {"output": "output"})]
    models.write_ensemble(folder, "mnist", {"input": IMAGE}, {"output": LOGITS}, steps)
    models.write_ensemble(folder, "own", {"input": IMAGE}, {"output": (*LOGITS, 'label_filename: "own.txt"')}, steps)
    (folder / "own/own.txt").write_text("\n".join(f"<{word}>" for word in digits_in_words))
    best = int(expected[0].argmax())
    with serving(folder, tmp_path / "log") as server, connect(server, module) as client:
        for model, label in (("mnist", digits_in_words[best]), ("own", f"<{digits_in_words[best]}>")):
            outputs = [module.InferRequestedOutput("output", class_count=1)]
            result = client.infer(model, [tensor(module, "input", digits.images()[:1])], outputs=outputs)
            (answer,) = result.as_numpy("output").reshape(-1)
            assert answer.decode().split(":")[1:] == [str(best), label]


def test_models_come_and_go_with_it(tmp_path: pathlib.Path) -> None:
    folder = build(tmp_path / "repository")
    with serving(folder, tmp_path / "log", "--model-control-mode=explicit") as server:
        with connect(server, grpcclient) as client:
            ready = lambda *names: [succeeds(client.is_model_ready, name) for name in names]
            parts = ("mnist", "mnist_mlp", "logits")
            client.load_model("mnist")
            assert ready(*parts, "add_sub") == [True, True, True, False]
            client.unload_model("mnist", unload_dependents=True)
            assert ready(*parts) == [False, False, False]
            client.load_model("mnist")
            client.unload_model("mnist")
            assert ready(*parts) == [False, True, True]
            client.load_model("mnist")
            client.unload_model("logits")
            assert ready(*parts) == [False, True, False], "it cannot go on without"
            client.load_model("logits")
            assert ready(*parts) == [True, True, True], "and comes back"
            client.unload_model("mnist", unload_dependents=True)
            assert ready(*parts) == [False, False, True], "what was loaded by name stays"
            (folder / "mnist_mlp/config.pbtxt").write_text((folder / "mnist_mlp/config.pbtxt").read_text().replace("size: 8", "size: 4"))
            with pytest.raises(InferenceServerException) as error:
                client.load_model("mnist")
        text = (
            "load failed for model 'mnist': ensemble mnist allows maximum batch size 8, but it contains model mnist_mlp which only allows "
            "maximum batch size to be 4\n"
        )
        assert error.value.message() == text


def succeeds(action, *arguments) -> bool:
    try:
        return action(*arguments)
    except InferenceServerException:
        return False


def slow(folder: pathlib.Path, delay_ms: int) -> pathlib.Path:
    """`e` is a slow identity and a quick one."""
    models.write_identity(folder, "slow", [ROW], max_batch_size=8, parameters={"execute_delay_ms": delay_ms})
    models.write_identity(folder, "quick", [ROW], max_batch_size=8)
    steps = [("slow", {"INPUT0": "INPUT0"}, {"OUTPUT0": "t"}), ("quick", {"INPUT0": "t"}, {"OUTPUT0": "OUTPUT0"})]
    models.write_ensemble(folder, "e", {"INPUT0": ROW}, {"OUTPUT0": ROW}, steps)
    return folder


def canceled(server: Nereid, model: str) -> bool:
    series = f'nv_inference_request_failure{{model="{model}",reason="CANCELED",version="1"}} 1'
    return series in server.metrics().splitlines()


def test_cancelling_reaches_the_running_step(tmp_path: pathlib.Path) -> None:
    hours = 10_000_000
    with serving(slow(tmp_path / "repository", hours), tmp_path / "log") as server:
        with grpcclient.InferenceServerClient(server.grpc) as client:
            answers: queue.Queue[object] = queue.Queue()
            inputs = [tensor(grpcclient, "INPUT0", np.zeros([1, 16], np.int32))]
            call = client.async_infer("e", inputs, lambda result, error: answers.put(error or result))
            # A second request to the slow model waits: so the first one runs.
            second = client.async_infer("slow", inputs, lambda result, error: answers.put(error or result))
            pending = 'nv_inference_pending_request_count{model="slow",version="1"} 1'
            wait_until(lambda: pending in server.metrics().splitlines(), WAIT_S, server.metrics())
            second.cancel()
            call.cancel()
            for _ in range(2):
                assert answers.get(timeout=WAIT_S).status() == "StatusCode.CANCELLED"
            wait_until(lambda: canceled(server, "e"), WAIT_S, server.metrics())
        assert succeeded(server, "quick") == 0


def test_requests_in_flight_finish_when_the_server_ends(tmp_path: pathlib.Path) -> None:
    server = Nereid(slow(tmp_path / "repository", 1000), tmp_path / "log")
    try:
        server.wait_ready()
        with grpcclient.InferenceServerClient(server.grpc) as client:
            answers: queue.Queue[object] = queue.Queue()
            values = np.arange(16, dtype=np.int32)[None]
            inputs = [tensor(grpcclient, "INPUT0", values)]
            for model in ("e", "slow"):
                client.async_infer(model, inputs, lambda result, error: answers.put(error or result))
            pending = 'nv_inference_pending_request_count{model="slow",version="1"} 1'
            wait_until(lambda: pending in server.metrics().splitlines(), WAIT_S, server.metrics())
            server.process.send_signal(signal.SIGTERM)
            for _ in range(2):
                result = answers.get(timeout=WAIT_S)
                assert isinstance(result, grpcclient.InferResult), result
                np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), values)
        assert server.ended() == 0, server.log()
    finally:
        if server.alive():
            server.process.kill()
            server.process.wait()


def test_configs_that_cannot_work(tmp_path: pathlib.Path) -> None:
    folder = build(tmp_path / "repository")
    for name, outputs, steps in (
        ("circle_a", "OUTPUT0", [("circle_b", {"INPUT0": "INPUT0"}, {"OUTPUT0": "OUTPUT0"})]),
        ("circle_b", "OUTPUT0", [("circle_a", {"INPUT0": "INPUT0"}, {"OUTPUT0": "OUTPUT0"})]),
        ("unmapped", "OUTPUT0", [("left", {"INPUT0": "INPUT0", "INPUT1": "INPUT0"}, {"OUTPUT0": "OUTPUT0"})]),
        ("missing", "OUTPUT0", [("nosuch", {"INPUT0": "INPUT0"}, {"OUTPUT0": "OUTPUT0"})]),
        ("unwritten", "OUTPUT0", [("left", {"INPUT0": "INPUT0"}, {"OUTPUT0": "other"})]),
    ):
        models.write_ensemble(folder, name, {"INPUT0": ROW}, {outputs: ROW}, steps)
    with serving(folder, tmp_path / "log", "--exit-on-error=false", "--strict-readiness=false") as server:
        log = server.log()
        for text in (
            "circular dependency between ensembles: circle_a -> ... -> circle_b -> circle_a",
            "in ensemble unmapped, ensemble tensor INPUT0 is mapping to non-existing input INPUT1 in model left",
            "ensemble missing contains models that are not available or ambiguous: nosuch",
            "ensemble output 'OUTPUT0' for ensemble unwritten is not used",
        ):
            assert text in log
        index = json.loads(server.request("POST", "/v2/repository/index").body)
        states = {model["name"]: model.get("state") for model in index}
        assert all(states[name] is None for name in ("circle_a", "circle_b", "unmapped", "missing", "unwritten"))
        assert states["mnist"] == "READY"
