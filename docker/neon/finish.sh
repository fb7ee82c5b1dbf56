# What is left to do after pip: Neon is on no package index, and its MKL engine comes as C.
# Run where the image is built and by the virtualenv engine alike, by a POSIX sh. Given:
#   ENVIRONMENT  prefix of the environment
#   SOURCE       folder of Neon's source, which is only read
#   ENGINE       mkl to build the MKL engine, too; gpu to put PyCUDA and CUDA into the environment
#   MARCH        what processor the engine is compiled for; upstream's own Makefile says native, which dies elsewhere
#   OPTIMISE     how: -O3 in upstream's Makefile
#   SDISTS       PyCUDA and its kin, pinned and hashed, as pip's requirements
#   CUDA_URL     NVIDIA's archive of nvcc
#   CUDA_SHA256  its hash
# Ends with 69 where the machine lacks what only its own packages bring.
set -eu

if [ "${ENGINE:-}" = mkl ] && ! command -v cc > /dev/null; then
    echo "Neon's MKL engine is compiled from C, and this machine has no C compiler. Debian: apt install gcc libc6-dev" >&2
    exit 69
fi

if [ "${ENGINE:-}" = gpu ]; then
    for tool in curl g++ xz; do
        if ! command -v "$tool" > /dev/null; then
            echo "Neon's GPU backend needs $tool to be made, and this machine has none. Debian: apt install curl g++ xz-utils" >&2
            exit 69
        fi
    done
fi

site=$("$ENVIRONMENT/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
rm -rf "$site/neon"
cp -R "$SOURCE/neon" "$site/neon"
chmod -R u+rwX,go+rX "$site/neon"
# What its setup.py would write: the file that Neon does not import without, and what makes it count as installed.
version=$(sed -n "s/^VERSION = '\(.*\)'$/\1/p" "$SOURCE/setup.py")
echo "VERSION = SHORT_VERSION = '$version'" > "$site/neon/version.py"
printf 'Metadata-Version: 1.0\nName: nervananeon\nVersion: %s\n' "$version" > "$site/nervananeon-$version.egg-info"

if [ "${ENGINE:-}" = gpu ]; then
    # nvcc comes from NVIDIA's archive, headers and libraries as wheels: here they are put together as a toolkit.
    cuda=$ENVIRONMENT/cuda
    rm -rf "$cuda"
    mkdir "$cuda"
    curl --fail --location --silent --show-error --output "$cuda/nvcc.tar.xz" "$CUDA_URL"
    echo "$CUDA_SHA256  $cuda/nvcc.tar.xz" | sha256sum --check --quiet -
    tar --extract --xz --file "$cuda/nvcc.tar.xz" --directory "$cuda" --strip-components 1
    rm "$cuda/nvcc.tar.xz"
    mkdir -p "$cuda/include" "$cuda/lib64"
    for headers in "$site"/nvidia/*/include; do
        cp -R "$headers/." "$cuda/include/"
    done
    for library in "$site"/nvidia/*/lib/lib*.so.*; do
        name=${library##*/}
        ln -sf "$library" "$cuda/lib64/$name"
        ln -sf "$library" "$cuda/lib64/${name%%.so.*}.so"
    done
    # What the driver would bring, and a header that is in no wheel, for PyCUDA to be compiled and linked with: the
    # declarations are those of NVIDIA's reference of the driver's interface.
    : | cc -shared -Wl,-soname,libcuda.so.1 -x c - -o "$cuda/lib64/libcuda.so"
    cat > "$cuda/include/cudaProfiler.h" << 'END'
#include "cuda.h"
typedef enum CUoutput_mode_enum { CU_OUT_KEY_VALUE_PAIR = 0, CU_OUT_CSV = 1 } CUoutput_mode;
extern "C" CUresult CUDAAPI cuProfilerInitialize(const char *, const char *, CUoutput_mode);
extern "C" CUresult CUDAAPI cuProfilerStart(void);
extern "C" CUresult CUDAAPI cuProfilerStop(void);
END
    echo "$SDISTS" > "$cuda/sdists.txt"
    # This libcuda has no symbols: a linker that drops what is not needed would drop it.
    CUDA_ROOT=$cuda LDFLAGS="${LDFLAGS:-} -Wl,--no-as-needed" PATH=$cuda/bin:$PATH "$ENVIRONMENT/bin/python" -m pip install \
        --disable-pip-version-check --no-deps --no-build-isolation --no-binary :all: --require-hashes \
        --requirement "$cuda/sdists.txt"
    rm "$cuda/lib64/libcuda.so"
    if ! grep -q 'libcuda\.so\.1' "$site"/pycuda/_driver*.so; then
        echo "PyCUDA was compiled, but does not ask for the driver's libcuda.so.1" >&2
        exit 1
    fi
fi

[ "${ENGINE:-}" = mkl ] || exit 0

# Compiled with OpenMP but linked without -fopenmp: MKL brings Intel's OpenMP, which answers to GNU's calls, too, and two
# OpenMP libraries in one process are two sets of threads. The two names are those that Neon opens.
engine=$site/neon/backends/mklEngine
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
for file in "$engine"/src/*.c; do
    # shellcheck disable=SC2086  # OPTIMISE may hold several flags
    cc -std=c99 $OPTIMISE "-march=$MARCH" -fPIC -fopenmp "-I$ENVIRONMENT/include" -c "$file" -o "$objects/${file##*/}.o"
done
link() {
    cc -shared -o "$@" "-L$ENVIRONMENT/lib" "-Wl,-rpath,$ENVIRONMENT/lib" -lmkl_rt -liomp5 -lm
}
link "$engine/cmath.so" "$objects/math_cpu.c.o"
rm "$objects/math_cpu.c.o"
link "$engine/mklEngine.so" "$objects"/*.o
# What the worker tells of it: a library does not say by which flags it was compiled.
echo "$OPTIMISE -march=$MARCH" > "$engine/flags"
