//! A whole subsystem in sixty lines: an empty file for each of a jail's tallies. It says how one is made, undone and
//! found; rollback, repair, audit, ledger and trace are the framework's.

use std::{fs, io};

use vimage::{Context as _, Doomed, House, Kind, Known, Param, Piece, Result, Settings, Site, Subsystem};

pub struct Tallies;

static PARAMS: [Param; 1] = [Param { name: "tallies", kind: Kind::List { commas: true }, ..Param::BASE }];

impl Subsystem<()> for Tallies {
    fn name(&self) -> &'static str {
        "tallies"
    }
    fn about(&self) -> &'static str {
        "tallies"
    }
    fn params(&self) -> &'static [Param] {
        &PARAMS
    }
    fn create(&self, site: &mut Site<'_>) -> Result<()> {
        self.update(site, &Settings::default()).map(drop)
    }
    fn update(&self, site: &mut Site<'_>, _old: &Settings) -> Result<Vec<()>> {
        let there: Vec<_> = site.instance().pieces_of("tallies", "file").cloned().collect();
        let wanted = site.settings.list("tallies").iter();
        let wanted: Vec<_> = wanted.map(|t| path(site.house, &format!("{}-{t}", site.name))).collect();
        for piece in there.iter().filter(|p| !wanted.contains(&p.key)) {
            site.unmake(piece, || remove(&piece.key))?;
        }
        for key in wanted.iter().filter(|key| there.iter().all(|p| p.key != **key)) {
            site.make(Piece::new("file", key), || fs::write(key, "").doing_with(|| key.clone()))?;
        }
        Ok(Vec::new())
    }
    fn undo(&self, doomed: &[Doomed<'_>]) -> Vec<Result<()>> {
        doomed.iter().map(|d| remove(&d.piece.key)).collect()
    }
    fn exists(&self, piece: &Piece, _house: &dyn House) -> Result<bool> {
        fs::exists(&piece.key).doing_with(|| piece.key.clone())
    }
    fn strays(&self, known: &Known, house: &dyn House) -> Result<Vec<Piece>> {
        let files = fs::read_dir(path(house, "")).into_iter().flatten().flatten();
        let keys = files.map(|file| file.path().to_string_lossy().into_owned());
        Ok(keys.filter(|k| !known.has("tallies", "file", k)).map(|k| Piece::new("file", k)).collect())
    }
}
fn path(house: &dyn House, name: &str) -> String {
    house.shelf().with_file_name("tallies").join(name).to_string_lossy().into_owned()
}
fn remove(path: &str) -> Result<()> {
    let done = fs::remove_file(path);
    if done.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        Ok(())
    } else {
        done.doing("remove")
    }
}
