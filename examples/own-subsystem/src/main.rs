//! `own`: all the tools, with a subsystem of its own.
//!
//! Each jail gets a folder of counters, which programs on the host count up by adding bytes to a file: its
//! length is the count, and no lock is needed. It lies beside the store's own folders.

use std::{fs, io, path::Path, process::ExitCode};

use kernel::act::Act;
use vimage::{
    Context as _, Doomed, House, Kind, Known, Mode, Param, Piece, Result, Settings, Site, Subsystem, When,
};

fn main() -> ExitCode {
    cli::run(&[&Counters])
}

struct Counters;

static PARAMS: &[Param] = &[
    Param {
        name: "counters",
        kind: Kind::Mode(&[Mode::New, Mode::Inherit]),
        when: When::Create,
        default: Some("inherit"),
        help: "whether the jail has counters",
        ..Param::BASE
    },
    Param {
        name: "counters.names",
        kind: Kind::List { commas: true },
        help: "the jail's counters",
        ..Param::BASE
    },
];

impl Subsystem<Act> for Counters {
    fn name(&self) -> &'static str {
        "counters"
    }

    fn about(&self) -> &'static str {
        "a folder of counters"
    }

    fn params(&self) -> &'static [Param] {
        PARAMS
    }

    fn check(&self, ask: &vimage::Ask<'_>) -> Result<()> {
        match ask.settings.list("counters.names").iter().find(|n| n.contains('/') || n.starts_with('.')) {
            Some(name) => Err(vimage::Error::usage(format!("counters.names: \"{name}\" is no file name"))),
            None => Ok(()),
        }
    }

    fn create(&self, site: &mut Site<'_>) -> Result<()> {
        if !site.settings.is_new("counters") {
            return Ok(());
        }
        let folder = path(site.house, &site.jid.to_string());
        let doing = || format!("cannot make {folder}");
        site.make(Piece::new("folder", &folder), || fs::create_dir_all(&folder).doing_with(doing))?;
        self.update(site, &Settings::default()).map(drop)
    }

    /// Compares what is wanted with the pieces there are, so that it also changes a failed update back.
    fn update(&self, site: &mut Site<'_>, _old: &Settings) -> Result<Vec<Act>> {
        let file = |name: &String| path(site.house, &format!("{}/{name}", site.jid));
        let wanted: Vec<_> = site.settings.list("counters.names").iter().map(file).collect();
        let there: Vec<_> = site.instance().pieces_of("counters", "counter").cloned().collect();
        for piece in there.iter().filter(|p| !wanted.contains(&p.key)) {
            site.unmake(piece, || gone(fs::remove_file(&piece.key), piece))?;
        }
        for key in wanted.iter().filter(|key| there.iter().all(|p| p.key != **key)) {
            site.make(Piece::new("counter", key), || {
                fs::write(key, "").doing_with(|| format!("cannot write {key}"))
            })?;
        }
        Ok(Vec::new())
    }

    fn undo(&self, doomed: &[Doomed<'_>]) -> Vec<Result<()>> {
        let undo = |d: &Doomed<'_>| match d.piece.kind.as_str() {
            "folder" => gone(fs::remove_dir_all(&d.piece.key), d.piece),
            _ => gone(fs::remove_file(&d.piece.key), d.piece),
        };
        doomed.iter().map(undo).collect()
    }

    fn exists(&self, piece: &Piece, _house: &dyn House) -> Result<bool> {
        Ok(Path::new(&piece.key).exists())
    }

    fn strays(&self, known: &Known, house: &dyn House) -> Result<Vec<Piece>> {
        let folders = fs::read_dir(path(house, "")).into_iter().flatten().flatten();
        let keys = folders.map(|e| e.path().to_string_lossy().into_owned());
        Ok(keys.filter(|k| !known.has("counters", "folder", k)).map(|k| Piece::new("folder", k)).collect())
    }
}

fn path(house: &dyn House, name: &str) -> String {
    house.shelf().with_file_name("counters").join(name).to_string_lossy().into_owned()
}

/// Already gone is success.
fn gone(done: io::Result<()>, piece: &Piece) -> Result<()> {
    match done {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).doing_with(|| format!("cannot remove {}", piece.key))
        }
        _ => Ok(()),
    }
}
