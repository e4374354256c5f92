"""Run the kernels' tests as on another machine: `python tests/kernels/portability.py win64|aarch64`.

`win64` compiles for Windows and calls every kernel with its calling convention in this process; it needs gcc.
`aarch64` compiles for 64-bit Arm and runs every kernel in an emulator; it needs `qemu-aarch64` and
`aarch64-linux-gnu-gcc`.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from llvmlite import binding as llvm

from rnntk.kernels import native
from rnntk.kernels.code import Shape
from rnntk.kernels.native import Kernels, Operand

TESTS = Path(__file__).parents[1]
MOST = 40  # operands of a kernel
PASSED = ", ".join(f"a[{k}]" for k in range(MOST))
FOLDER = Path(tempfile.mkdtemp())

WINDOWS = f"""
#include <stdint.h>
#include <string.h>
#include <sched.h>
#define WINDOWS __attribute__((ms_abi))
typedef void (WINDOWS *kernel)({", ".join(["int64_t"] * MOST)});
void call(kernel k, int64_t *a) {{ k({PASSED}); }}
WINDOWS void *copy(void *to, const void *from, size_t n) {{ return memcpy(to, from, n); }}
WINDOWS void *fill(void *to, int byte, size_t n) {{ return memset(to, byte, n); }}
WINDOWS int yields(void) {{ return !sched_yield(); }}
__attribute__((naked)) void probe(void) {{ __asm__("ret"); }}
"""

NAMES = {
    "memcpy": "copy",
    "memset": "fill",
    "SwitchToThread": "yields",
    "__chkstk": "probe",
    "___chkstk_ms": "probe",
}

# Reads the buffers, the kernel's name and its operands (a number or an offset in a buffer); writes the buffers.
ARM = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
%(declared)s
typedef void (*kernel)(%(types)s);
struct { const char *name; kernel run; } kernels[] = {%(listed)s};
static int64_t number(void) { int64_t n; if (fread(&n, 8, 1, stdin) != 1) exit(2); return n; }
int main(void) {
  int64_t count = number(), size[64], a[%(most)s] = {0};
  char *buffer[64], name[64];
  for (int i = 0; i < count; i++) {
    size[i] = number();
    buffer[i] = aligned_alloc(64, (size[i] + 64) / 64 * 64);
    if (fread(buffer[i], 1, size[i], stdin) != (size_t)size[i]) return 2;
  }
  if (fread(name, 64, 1, stdin) != 1) return 2;
  for (int i = 0, n = number(); i < n; i++) {
    int64_t of = number(), value = number();
    a[i] = of < 0 ? value : (int64_t)(buffer[of] + value);
  }
  for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++)
    if (!strcmp(kernels[k].name, name)) {
      kernels[k].run(%(passed)s);
      for (int i = 0; i < count; i++) fwrite(buffer[i], 1, size[i], stdout);
      return 0;
    }
  return 3;
}
"""


def built(compiler: str, source: str, name: str, *options: str | Path) -> Path:
    (FOLDER / f"{name}.c").write_text(source)
    subprocess.run(
        [compiler, "-O1", FOLDER / f"{name}.c", *options, "-o", FOLDER / name], check=True
    )
    return FOLDER / name


class Windows(Kernels):
    """Kernels compiled for Windows, in a process of this system."""

    def __init__(self, shape: Shape | None = None, cache: Path | None = None) -> None:
        library = ctypes.CDLL(str(built("gcc", WINDOWS, "windows.so", "-shared", "-fPIC", "-w")))
        for symbol, name in NAMES.items():
            address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
            assert address
            llvm.add_symbol(symbol, address)
        self._call = library.call
        super().__init__(shape, cache)

    def __call__(self, name: str, *operands: Operand) -> None:
        numbers = [native._number(operand) for operand in operands]
        assert len(numbers) <= MOST
        given = (ctypes.c_int64 * MOST)(*numbers)
        self._call(ctypes.c_void_p(self._engine.get_function_address(name)), given)


def owner(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class Emulated(Kernels):
    """Kernels compiled for 64-bit Arm; each call runs the emulator."""

    def __init__(self, shape: Shape | None = None, cache: Path | None = None) -> None:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        triple = "aarch64-unknown-linux-gnu"
        self.shape = shape or native.best_shape(triple, {})
        machine = llvm.Target.from_triple(triple).create_target_machine(opt=2)
        name = f"kernels-{self.shape.width}-{self.shape.rows}"
        made = FOLDER / f"{name}.o"
        made.write_bytes(native._compile(machine, self.shape))
        symbols = subprocess.run(
            ["aarch64-linux-gnu-nm", "--defined-only", made],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[2::3]
        types = ", ".join(["int64_t"] * MOST)
        source = ARM % {
            "declared": "\n".join(f"void {symbol}();" for symbol in symbols),
            "listed": ", ".join(f'{{"{symbol}", (kernel){symbol}}}' for symbol in symbols),
            "types": types,
            "passed": PASSED,
            "most": MOST,
        }
        self._program = built("aarch64-linux-gnu-gcc", source, name, made, "-static", "-w")

    def __call__(self, name: str, *operands: Operand) -> None:
        owners: list[np.ndarray] = []
        sent: list[int] = []
        for operand in operands:
            if not isinstance(operand, np.ndarray):
                sent += [-1, operand or 0]
                continue
            whole = owner(operand)
            places = [k for k, one in enumerate(owners) if one is whole]
            if not places:
                owners.append(whole)
            offset = operand.ctypes.data - whole.ctypes.data
            sent += [places[0] if places else len(owners) - 1, offset]
        data = np.int64(len(owners)).tobytes()
        for whole in owners:
            content = ctypes.string_at(whole.ctypes.data, whole.nbytes)
            data += np.int64(whole.nbytes).tobytes() + content
        data += name.encode().ljust(64, b"\0") + np.int64(len(operands)).tobytes()
        data += np.array(sent, np.int64).tobytes()
        command = ["qemu-aarch64", self._program]
        answer = subprocess.run(command, input=data, capture_output=True, check=True).stdout
        for whole in owners:
            if ctypes.string_at(whole.ctypes.data, whole.nbytes) != answer[: whole.nbytes]:
                ctypes.memmove(whole.ctypes.data, answer[: whole.nbytes], whole.nbytes)
            answer = answer[whole.nbytes :]
        assert not answer


def main() -> int:
    where = sys.argv[1]
    names = "product or gradient or packing or standardised or cell or tanh or not_a_number"
    chosen = ["-k", f"({names}) and not rounded_factors"]
    files = [TESTS / "kernels" / "test_kernels.py"]
    if where == "win64":
        native.Kernels = Windows  # type: ignore[misc]
        llvm.get_process_triple = lambda: "x86_64-pc-windows-elf"
        files.append(TESTS / "decoding" / "test_compiled.py")  # kernels that call each other
        chosen = ["-k", "not machine_code and not kept and not cache"]
    else:
        native.Kernels = Emulated  # type: ignore[misc]
    return pytest.main(["-q", "-p", "no:cacheprovider", *chosen, *map(str, files)])


if __name__ == "__main__":
    raise SystemExit(main())
