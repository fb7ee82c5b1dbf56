# What is left to do after pip: Neon is on no package index, and its MKL engine comes as C.
# Run where the image is built and by the virtualenv engine alike, by a POSIX sh. Given:
#   ENVIRONMENT  prefix of the environment
#   SOURCE       folder of Neon's source, which is only read
#   ENGINE       mkl to build the MKL engine, too
#   MARCH        what processor the engine is compiled for; upstream's own Makefile says native, which dies elsewhere
#   OPTIMISE     how: -O3 in upstream's Makefile
# Ends with 69 where the machine lacks what only its own packages bring.
set -eu

if [ "${ENGINE:-}" = mkl ] && ! command -v cc > /dev/null; then
    echo "Neon's MKL engine is compiled from C, and this machine has no C compiler. Debian: apt install gcc libc6-dev" >&2
    exit 69
fi

site=$("$ENVIRONMENT/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
rm -rf "$site/neon"
cp -R "$SOURCE/neon" "$site/neon"
chmod -R u+rwX,go+rX "$site/neon"
# What its setup.py would write: the file that Neon does not import without, and what makes it count as installed.
version=$(sed -n "s/^VERSION = '\(.*\)'$/\1/p" "$SOURCE/setup.py")
echo "VERSION = SHORT_VERSION = '$version'" > "$site/neon/version.py"
printf 'Metadata-Version: 1.0\nName: nervananeon\nVersion: %s\n' "$version" > "$site/nervananeon-$version.egg-info"

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
