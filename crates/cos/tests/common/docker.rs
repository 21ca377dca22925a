//! Stands in for docker where no engine runs: hands out the image that buildah built from the same Dockerfile.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Puts a program `docker` into `directory` that knows `build --file FILE …` and `save [--output FILE] NAME`.
pub(crate) fn install(directory: &Path, archive: &Path) {
    let archive = archive.display();
    let script = format!(
        r#"#!/bin/sh
set -eu
verb=$1 output=/dev/stdout
shift
while [ $# -gt 0 ]; do
  case $1 in
    --file) test -f "$2"; shift 2 ;;
    --output) output=$2; shift 2 ;;
    --tag) shift 2 ;;
    --) shift ;;
    *) last=$1; shift ;;
  esac
done
case $verb in
  build) test -x "$last/cos" && test -x "$last/cos-init" ;;
  save)
    made=$(mktemp --directory)
    skopeo --insecure-policy copy --quiet "oci-archive:{archive}" "docker-archive:$made/image.tar:$last:latest"
    cat "$made/image.tar" > "$output"
    rm -r "$made" ;;
  *) echo "docker: $verb is not stood in for" >&2; exit 64 ;;
esac
"#
    );
    let path = directory.join("docker");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
