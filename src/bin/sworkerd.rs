//! `sworkerd`: the server. What it can be asked for: `sworkerd -h`.

fn main() {
    std::process::exit(sworker::process::boot::main(std::env::args_os().skip(1)));
}
