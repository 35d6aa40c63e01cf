"""The command line as Triton's users type it."""

import pathlib
import socket
import subprocess

import pytest

from nereid_process import Nereid, binary, free_port, serving


@pytest.fixture
def mnist(repository: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A repository with one model, so that a start is quick."""
    folder = tmp_path / "one_model"
    folder.mkdir()
    (folder / "mnist_mlp").symlink_to(repository / "mnist_mlp")
    return folder


def run(*arguments: str, program: str | None = None) -> subprocess.CompletedProcess:
    return subprocess.run([program or binary(), *arguments], capture_output=True, text=True, timeout=60)


def test_help_lists_tritons_flags() -> None:
    result = run("--help")
    assert result.returncode == 0
    for flag in ("--model-repository", "--http-port", "--grpc-port", "--metrics-port", "--exit-on-error", "--strict-readiness"):
        assert flag in result.stdout


@pytest.mark.parametrize("flag", ["--no-such-flag", "--no-such-flag=1", "--http-prot=8000"])
def test_an_unknown_flag_is_an_error(mnist: pathlib.Path, flag: str) -> None:
    result = run(f"--model-repository={mnist}", flag)
    assert result.returncode == 1
    assert f'"{flag.split("=")[0]}"' in result.stdout + result.stderr


@pytest.mark.parametrize(
    "flag", ["--http-port=abc", "--http-port=70000", "--exit-on-error=perhaps", "--http-max-input-size=0", "--model-control-mode=sometimes"]
)
def test_a_wrong_value_is_an_error_that_names_the_flag(mnist: pathlib.Path, flag: str) -> None:
    result = run(f"--model-repository={mnist}", flag)
    assert result.returncode == 1
    name = flag.split("=")[0].removeprefix("--")
    assert name in result.stdout + result.stderr


def test_a_repository_must_be_named() -> None:
    result = run()
    assert result.returncode == 1
    assert "--model-repository" in result.stdout + result.stderr


def test_a_flag_that_is_not_there_yet_warns(mnist: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(mnist, tmp_path / "log", "--buffer-manager-thread-count=2", "--grpc-http2-max-ping-strikes=2") as server:
        for flag in ("buffer-manager-thread-count", "grpc-http2-max-ping-strikes"):
            lines = [line for line in server.log().splitlines() if flag in line]
            assert lines and lines[0].startswith("W"), server.log()


@pytest.mark.parametrize("name", ["tritonserver", "nereid"])
def test_it_answers_to_both_names(mnist: pathlib.Path, tmp_path: pathlib.Path, name: str) -> None:
    link = tmp_path / name
    link.symlink_to(binary())
    server = Nereid(mnist, tmp_path / "log", program=str(link))
    try:
        server.wait_ready()
        assert server.get("/v2").json()["name"] == "triton"
    finally:
        assert server.stop() == 0


def test_the_spellings_of_a_value(mnist: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """`--flag value`, `--flag=value`, and a bare boolean."""
    flags = ["--id", "my server", "--strict-readiness", "--log-info=TRUE", "--exit-timeout-secs", "5"]
    with serving(mnist, tmp_path / "log", *flags) as server:
        assert server.get("/v2").json()["name"] == "my server"


def test_endpoints_can_be_switched_off(mnist: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(mnist, tmp_path / "log", "--allow-grpc=false") as server:
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", server.grpc_port), 5):
            pass


def test_a_port_in_use_is_an_error_that_names_it(mnist: pathlib.Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = [f"--http-port={port}", f"--grpc-port={free_port()}", f"--metrics-port={free_port()}", "--http-address=127.0.0.1"]
        result = run(f"--model-repository={mnist}", *ports)
    assert result.returncode == 1
    assert str(port) in result.stdout + result.stderr
