//! The tool jls.

fn main() -> std::process::ExitCode {
    cli::run(&[])
}
