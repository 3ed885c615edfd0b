//! The toy that has everything: a folder of counters for each jail, changed in part, and pools that jails share.
//!
//! There is nothing here about rollback, repair, audit, ledger or trace: that is what the tests are about.

use std::{fs, io, path::Path};

use vimage::{
    Context as _, Cost, Doomed, House, Kind, Known, Mode, Param, Piece, Result, Settings, Shared, Site,
    Subsystem,
};

#[derive(Debug)]
pub struct Counters {
    pub name: &'static str,
    pub after: &'static [&'static str],
    /// The mode, the counters' names, and the pools'.
    pub params: &'static [Param; 3],
}

pub const MODE: Param = Param {
    kind: Kind::Mode(&[Mode::New, Mode::Inherit]),
    when: vimage::When::Create,
    default: Some("inherit"),
    ..Param::BASE
};
pub const LIST: Param = Param { kind: Kind::List { commas: true }, ..Param::BASE };

impl Subsystem<()> for Counters {
    fn name(&self) -> &'static str {
        self.name
    }
    fn about(&self) -> &'static str {
        "counters"
    }
    fn params(&self) -> &'static [Param] {
        self.params
    }
    fn after(&self) -> &'static [&'static str] {
        self.after
    }
    fn create(&self, site: &mut Site<'_>) -> Result<()> {
        if !site.settings.is_new(self.name) {
            return Ok(());
        }
        let dir = self.path(site.house, site.name);
        site.make(Piece::new("dir", &dir), || fs::create_dir(&dir).doing_with(|| dir.clone()))?;
        self.update(site, &Settings::default()).map(drop)
    }
    /// Compares what is wanted with the pieces, not with the old values: so it also changes a half back.
    fn update(&self, site: &mut Site<'_>, _old: &Settings) -> Result<Vec<()>> {
        let (settings, house) = (site.settings, site.house);
        let [_, names, pools] = self.params;
        let file = |name: &String| self.path(house, &format!("{}/{name}", site.name));
        let wanted: Vec<_> = settings.list(names.name).iter().map(file).collect();
        for piece in self.pieces(site, "file").iter().filter(|p| !wanted.contains(&p.key)) {
            site.unmake(piece, || gone(fs::remove_file(&piece.key)))?;
        }
        let there = self.pieces(site, "file");
        for path in wanted.iter().filter(|path| there.iter().all(|p| p.key != **path)) {
            site.make(Piece::new("file", path), || fs::write(path, "0").doing_with(|| path.clone()))?;
        }
        for piece in self.pieces(site, Shared::USE) {
            if !settings.list(pools.name).iter().any(|pool| parts(pool).0 == piece.key) {
                site.leave(&piece.key)?;
            }
        }
        for pool in settings.list(pools.name) {
            let (pool, wing) = parts(pool);
            site.share(pool, |site| {
                let dir = self.path(house, &format!("pool-{pool}"));
                // Fails where it is already there: to make it twice would not pass unnoticed.
                site.make(Piece::new("dir", &dir), || fs::create_dir(&dir).doing_with(|| dir.clone()))?;
                let total = format!("{dir}/total");
                site.make(Piece::new("file", &total), || fs::write(&total, "0").doing("total"))?;
                Ok(dir.into())
            })?;
            let Some(wing) = wing else { continue };
            site.grow(pool, |site, dir| {
                let dir = dir.as_str().unwrap();
                for wing in [wing.to_owned(), format!("{wing}-cellar")] {
                    let path = format!("{dir}-{wing}");
                    site.make(Piece::new("dir", &path), || fs::create_dir(&path).doing("wing"))?;
                }
                Ok(dir.into())
            })?;
        }
        Ok(Vec::new())
    }
    fn undo(&self, doomed: &[Doomed<'_>]) -> Vec<Result<()>> {
        let undo = |d: &Doomed<'_>| match d.piece.kind.as_str() {
            "dir" => gone(fs::remove_dir(&d.piece.key)),
            _ => gone(fs::remove_file(&d.piece.key)),
        };
        doomed.iter().map(undo).collect()
    }
    fn exists(&self, piece: &Piece, _house: &dyn House) -> Result<bool> {
        Ok(Path::new(&piece.key).exists())
    }
    fn strays(&self, known: &Known, house: &dyn House) -> Result<Vec<Piece>> {
        let dirs = fs::read_dir(self.path(house, "")).into_iter().flatten().flatten();
        let keys = dirs.map(|e| e.path().to_string_lossy().into_owned());
        Ok(keys.filter(|k| !known.has(self.name, "dir", k)).map(|k| Piece::new("dir", k)).collect())
    }
    fn cost(&self, piece: &Piece, _house: &dyn House) -> Cost {
        let inside = fs::read_dir(&piece.key).map_or(0, |files| files.count() as u64);
        Cost::default().count(inside, "counter", "counters")
    }
    fn objects(&self) -> &'static [(&'static str, &'static str)] {
        &[("dir", "directory")]
    }
}

impl Counters {
    fn path(&self, house: &dyn House, name: &str) -> String {
        house.shelf().with_file_name(self.name).join(name).to_string_lossy().into_owned()
    }
    fn pieces(&self, site: &Site<'_>, kind: &str) -> Vec<Piece> {
        site.instance().pieces_of(self.name, kind).cloned().collect()
    }
}

/// `POOL`, or `POOL+WING`: a pool that the jail adds a wing to.
fn parts(pool: &str) -> (&str, Option<&str>) {
    pool.split_once('+').map_or((pool, None), |(pool, wing)| (pool, Some(wing)))
}

/// Already gone is success.
fn gone(done: io::Result<()>) -> Result<()> {
    match done {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).doing("cannot remove it"),
        _ => Ok(()),
    }
}
