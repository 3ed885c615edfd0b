//! The tool jdb.

fn main() -> std::process::ExitCode {
    cli::run(&[])
}
