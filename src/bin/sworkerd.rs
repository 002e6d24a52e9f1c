//! `sworkerd`: the server. What it can be asked for: `sworkerd -h`.

fn main() {
    std::process::exit(sworker::process::start::boot::main(std::env::args_os().skip(1)));
}
