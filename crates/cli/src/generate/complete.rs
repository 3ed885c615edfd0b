//! Completions for shells. Names of jails are asked of jls(8) when they are needed.

use std::fmt::Write as _;

use kernel::act::Act;
use vimage::{Kind, Registry, When};

use crate::flags::{Flag, Tool, Word};

/// Parameters as they begin a definition: `path=`, `persist`, `nopersist`.
fn definitions(registry: &Registry<Act>) -> Vec<String> {
    let mut all = Vec::new();
    for (param, _) in registry.params().filter(|(p, _)| p.when != When::Read) {
        if param.kind != Kind::Bool {
            all.push(format!("{}=", param.name));
            continue;
        }
        all.push(param.name.to_owned());
        all.push(match param.name.rsplit_once('.') {
            Some((stem, last)) => format!("{stem}.no{last}"),
            None => format!("no{}", param.name),
        });
    }
    all
}

fn names(registry: &Registry<Act>) -> Vec<String> {
    registry.params().map(|(param, _)| param.name.to_owned()).collect()
}

/// What bash's compgen is given for a word.
fn compgen(word: Word, registry: &Registry<Act>) -> Option<String> {
    Some(match word {
        Word::Any => return None,
        Word::Jail => "-W \"$(jls name 2>/dev/null)\"".to_owned(),
        Word::Param => format!("-W '{}'", names(registry).join(" ")),
        Word::Definition => format!("-W '{}'", definitions(registry).join(" ")),
        Word::File => "-f".to_owned(),
        Word::Dir => "-d".to_owned(),
        Word::User => "-u".to_owned(),
        Word::OneOf(words) => format!("-W '{}'", words.join(" ")),
    })
}

/// The flag's names: `-j`, `--root`.
fn written(flag: &Flag) -> Vec<String> {
    let names = [("-", flag.short), ("--", flag.long)];
    names.into_iter().filter(|(_, n)| !n.is_empty()).map(|(dash, n)| format!("{dash}{n}")).collect()
}

/// For bash(1).
pub(super) fn bash(tool: &Tool, registry: &Registry<Act>) -> String {
    let name = tool.name;
    let flags: Vec<_> = super::flags(tool, registry).collect();
    let mut text = format!("# {name}(8) for bash\n_vimage_{name}() {{\n");
    text += "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n    COMPREPLY=()\n";
    text += "    case $prev in\n";
    for flag in flags.iter().filter(|f| f.value.is_some()) {
        let reply = match compgen(flag.takes, registry) {
            Some(options) => format!("COMPREPLY=($(compgen {options} -- \"$cur\")); "),
            None => String::new(),
        };
        let _ = writeln!(text, "    {}) {reply}return ;;", written(flag).join("|"));
    }
    text += "    esac\n    if [[ $cur == -* ]]; then\n";
    let all: Vec<_> = flags.iter().flat_map(|f| written(f)).collect();
    let _ = writeln!(text, "        COMPREPLY=($(compgen -W '{}' -- \"$cur\"))", all.join(" "));
    text += "        return\n    fi\n";
    for options in tool.words.iter().filter_map(|word| compgen(*word, registry)) {
        let _ = writeln!(text, "    COMPREPLY+=($(compgen {options} -- \"$cur\"))");
    }
    if tool.words.contains(&Word::Definition) {
        text += "    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n";
    }
    let _ = write!(text, "    return 0\n}}\ncomplete -F _vimage_{name} {name}\n");
    text
}

/// What zsh's _arguments is given for a word.
fn action(word: Word, registry: &Registry<Act>) -> String {
    match word {
        Word::Any => " ".to_owned(),
        Word::Jail => "->jails".to_owned(),
        Word::Param => format!("({})", names(registry).join(" ")),
        Word::Definition => format!("({})", definitions(registry).join(" ")),
        Word::File => "_files".to_owned(),
        Word::Dir => "_directories".to_owned(),
        Word::User => "_users".to_owned(),
        Word::OneOf(words) => format!("({})", words.join(" ")),
    }
}

/// For zsh(1).
pub(super) fn zsh(tool: &Tool, registry: &Registry<Act>) -> String {
    let name = tool.name;
    let mut text = format!("#compdef {name}\n# {name}(8) for zsh\nlocal state\n_arguments -s \\\n");
    for flag in super::flags(tool, registry) {
        let help =
            flag.help.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:");
        for written in written(flag) {
            let value = flag.value.map(|v| format!(":{v}:{}", action(flag.takes, registry)));
            let _ = writeln!(text, "  '*{written}[{help}]{}' \\", value.unwrap_or_default());
        }
    }
    // Words of several sorts are offered together.
    let fixed: Vec<_> = tool
        .words
        .iter()
        .map(|word| match word {
            Word::Param => names(registry),
            Word::Definition => definitions(registry),
            Word::OneOf(words) => words.iter().map(|w| (*w).to_owned()).collect(),
            _ => Vec::new(),
        })
        .collect::<Vec<_>>()
        .concat();
    text += "  '*:word:->words' && return\n";
    text += "case $state in\n  jails) compadd -- ${(f)\"$(jls name 2>/dev/null)\"} ;;\n  words)\n";
    if tool.words.contains(&Word::Jail) {
        text += "    compadd -- ${(f)\"$(jls name 2>/dev/null)\"}\n";
    }
    if !fixed.is_empty() {
        let _ = writeln!(text, "    compadd -S '' -- {}", fixed.join(" "));
    }
    text += "    ;;\nesac\n";
    text
}

/// What fish's complete is given for a word.
fn arguments(word: Word, registry: &Registry<Act>) -> Option<String> {
    let quoted = |words: &str| Some(format!("-a '{words}'"));
    match word {
        Word::Any => None,
        Word::Jail => quoted("(jls name 2>/dev/null)"),
        Word::Param => quoted(&names(registry).join(" ")),
        Word::Definition => quoted(&definitions(registry).join(" ")),
        Word::File => Some("-F".to_owned()),
        Word::Dir => quoted("(__fish_complete_directories)"),
        Word::User => quoted("(__fish_complete_users)"),
        Word::OneOf(words) => quoted(&words.join(" ")),
    }
}

/// For fish(1).
pub(super) fn fish(tool: &Tool, registry: &Registry<Act>) -> String {
    let name = tool.name;
    let mut text = format!("# {name}(8) for fish\ncomplete -c {name} -f\n");
    for flag in super::flags(tool, registry) {
        let mut line = format!("complete -c {name} ");
        for (option, name) in [("-s", flag.short), ("-l", flag.long)] {
            if !name.is_empty() {
                let _ = write!(line, "{option} {name} ");
            }
        }
        if flag.value.is_some() {
            line += "-x ";
            line.extend(arguments(flag.takes, registry).map(|a| a + " "));
        }
        let _ = writeln!(text, "{line}-d '{}'", flag.help.replace('\'', "\\'"));
    }
    for arguments in tool.words.iter().filter_map(|word| arguments(*word, registry)) {
        let _ = writeln!(text, "complete -c {name} {arguments}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_have_what_follows() {
        let all = definitions(&crate::registry(&[]).unwrap());
        for word in ["path=", "persist", "nopersist"] {
            assert!(all.iter().any(|d| d == word), "{word}");
        }
        assert!(!all.iter().any(|d| d.starts_with("dying")));
    }
}
