# What is left to do after pip for the CUDA builds: the libraries of CUDA, in one folder, for LD_LIBRARY_PATH.
# Run where the image is built and by the virtualenv engine alike, by a POSIX sh. Given:
#   ENVIRONMENT  prefix of the environment; cuda in it is what this makes
#   CUDA_URL     NVIDIA's installer of CUDA, to take them from; not set where they come as wheels, or there is no CUDA
#   CUDA_SHA256  its hash
# Ends with 69 where the machine lacks what only its own packages bring.
set -eu

site=$("$ENVIRONMENT/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cuda=$ENVIRONMENT/cuda
mkdir -p "$cuda"

if [ -z "${CUDA_URL:-}" ]; then
    for library in "$site"/nvidia/*/lib/*.so*; do
        [ ! -e "$library" ] || ln -sf "$library" "$cuda/"
    done
    exit 0
fi

if ! command -v curl > /dev/null; then
    echo "MXNet's CUDA is fetched from NVIDIA's archive, and this machine has no curl. Debian: apt install curl" >&2
    exit 69
fi
scratch=$(mktemp -d "$ENVIRONMENT/unpack-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
curl --fail --location --silent --show-error --output installer "$CUDA_URL"
echo "$CUDA_SHA256  installer" | sha256sum --check --quiet -

# The installer of 10.1 holds folders; an older one holds installers, of which that of the toolkit holds folders.
sh installer --keep --noexec > /dev/null
rm installer
for inner in pkg/run_files/cuda-linux*.run; do
    if [ -e "$inner" ]; then
        mv "$inner" toolkit.run
        rm -r pkg
        sh toolkit.run --keep --noexec > /dev/null
    fi
done
for name in cudart cublas cublasLt cufft curand cusolver cusparse nvToolsExt nvrtc nvrtc-builtins; do
    find pkg -path '*/lib64/*' ! -path '*/stubs/*' -name "lib$name.so*" -exec cp -a {} "$cuda/" \;
done

# Whatever MXNet is linked with must be there now, but for what the driver brings.
missing=$(LD_LIBRARY_PATH=$cuda ldd "$site/mxnet/libmxnet.so" | grep 'lib\(cu\|nv\).* not found' | grep -v 'libcuda\.so') || true
if [ -n "$missing" ]; then
    printf 'The installer lacks what MXNet is linked with:\n%s\n' "$missing" >&2
    exit 1
fi
