# Read by scripts that need Debian packages: `install_packages PACKAGE...` installs them as root or by sudo, and asks nothing.
# The script that reads this has a function `say`.

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo > /dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

install_packages() {
    command -v apt-get > /dev/null || { say "there is no apt-get here to install with"; return 1; }
    # A package that starts a service at its installation would take the SIP port of this machine.
    local policy=/usr/sbin/policy-rc.d made_policy=no
    if [ ! -e "$policy" ] && printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" > /dev/null; then
        as_root chmod +x "$policy" && made_policy=yes
    fi
    local result=0
    { as_root apt-get update -q > /dev/null \
        && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" > /dev/null; } \
        || result=$?
    [ "$made_policy" = no ] || as_root rm -f "$policy"
    return "$result"
}
