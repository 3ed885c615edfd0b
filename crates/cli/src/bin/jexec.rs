//! The tool jexec.

fn main() -> std::process::ExitCode {
    cli::run(&[])
}
