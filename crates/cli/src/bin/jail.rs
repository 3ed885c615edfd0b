//! The tool jail.

fn main() -> std::process::ExitCode {
    cli::run(&[])
}
