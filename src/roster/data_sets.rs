//! Edits of the data sets in `box.toml` that leave a person's comments where they are, as far as the text allows.

use smol_str::SmolStr;

use super::config::line_of;
use super::{CONFIG_FILE, Config, DataSet, RosterError, write};
use crate::world::Disk;

/// The Box's data sets.
pub async fn list_data_sets(disk: &impl Disk) -> Result<Vec<DataSet>, RosterError> {
    Ok(Config::load(disk).await?.data)
}

/// Names of data sets whose path lies inside another's, with that other's name: what is in both is in the snapshot twice.
#[must_use]
pub fn nested(sets: &[DataSet], set: &DataSet) -> Vec<(SmolStr, SmolStr)> {
    let others = sets.iter().filter(|other| other.name != set.name);
    others
        .filter_map(|other| {
            if is_inside(&set.path, &other.path) {
                Some((set.name.clone(), other.name.clone()))
            } else if is_inside(&other.path, &set.path) {
                Some((other.name.clone(), set.name.clone()))
            } else {
                None
            }
        })
        .collect()
}

/// Whether a path lies below another, by their names.
#[must_use]
pub fn is_inside(path: &str, dir: &str) -> bool {
    let dir = dir.trim_end_matches('/');
    path.strip_prefix(dir)
        .is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
}

/// Adds one. Adding it again as it is does nothing; tells which of all sets lie inside it or around it.
pub async fn add_data_set(
    disk: &impl Disk,
    set: DataSet,
) -> Result<Vec<(SmolStr, SmolStr)>, RosterError> {
    let text = Config::load_text(disk).await?;
    let mut config = Config::from_toml(&text)?;
    let nested = nested(&config.data, &set);
    if config.data.contains(&set) {
        return Ok(nested);
    }
    let mut edited = text;
    if !edited.ends_with('\n') {
        edited.push('\n');
    }
    edited.push_str(&set.to_toml());
    config.push(set).map_err(RosterError::Edit)?;
    save(disk, &config, edited).await?;
    Ok(nested)
}

/// Takes one out of the configuration; what was kept of it stays retrievable.
pub async fn remove_data_set(disk: &impl Disk, name: &str) -> Result<(), RosterError> {
    let text = Config::load_text(disk).await?;
    let mut config = Config::from_toml(&text)?;
    let Some(at) = config.data.iter().position(|set| set.name == name) else {
        return Err(RosterError::Edit(format!(
            "there is no data set \"{}\"; `reserve data list` shows them",
            name.escape_debug()
        )));
    };
    config.data.remove(at);
    let edited = without_table(&text, at);
    save(disk, &config, edited).await
}

/// The text as edited if it says what it should, else written anew.
async fn save(disk: &impl Disk, config: &Config, edited: String) -> Result<(), RosterError> {
    let text = match Config::from_toml(&edited) {
        Ok(says) if says == *config => edited,
        Ok(_) | Err(_) => config.to_toml(),
    };
    write(disk, CONFIG_FILE, text.as_bytes(), false).await
}

/// Cuts out the n-th `[[data]]` table, from its header to the next header. A guess at TOML that `save` checks.
fn without_table(text: &str, n: usize) -> String {
    let headers = text
        .match_indices("[[data]]")
        .map(|(at, _)| line_of(text, at));
    let Some(from) = headers.into_iter().nth(n) else {
        return String::new();
    };
    let mut inside = false;
    let mut keep = |(line, said): &(usize, &str)| {
        if *line == from {
            inside = true;
        } else if said.trim_start().starts_with('[') {
            inside = false;
        }
        !inside
    };
    let lines = (1..).zip(text.split_inclusive('\n'));
    lines.filter(&mut keep).map(|(_, said)| said).collect()
}

#[cfg(test)]
mod tests {
    use super::super::memory_disk::MemoryDisk;
    use super::*;
    use crate::terms::limits::DATA_SETS_MAX;

    fn set(name: &str) -> DataSet {
        let path = format!("/srv/x{}", name.trim_start_matches('s'));
        DataSet::from_bytes(name, path.as_bytes()).expect("legal")
    }

    #[test]
    fn sets_inside_each_other_are_told_by_name() {
        let at =
            |name: &str, path: &str| DataSet::from_bytes(name, path.as_bytes()).expect("legal");
        let sets = [
            at("all", "/srv"),
            at("deep", "/srv/a/b"),
            at("beside", "/srv/ab"),
        ];
        let told = nested(&sets, &at("new", "/srv/a"));
        let names: Vec<_> = told
            .iter()
            .map(|(inner, outer)| (inner.as_str(), outer.as_str()))
            .collect();
        assert_eq!(names, [("new", "all"), ("deep", "new")]);
        assert!(nested(&sets, &at("else", "/home")).is_empty());
        assert!(is_inside("/a/b", "/") && !is_inside("/a", "/a") && !is_inside("/ab", "/a"));
    }

    async fn disk(text: &str) -> MemoryDisk {
        let disk = MemoryDisk::new();
        write(&disk, CONFIG_FILE, text.as_bytes(), false)
            .await
            .expect("memory");
        disk
    }

    #[tokio::test]
    async fn edits_leave_comments_where_they_are() {
        let text = "name = \"home\" # mine\n\n[[data]]\nname = \"a\"\npath = \"/a\"\n\n# the disk\n[store]\nkeep = true\n";
        let disk = disk(text).await;
        add_data_set(&disk, set("b")).await.expect("legal");
        add_data_set(&disk, set("b"))
            .await
            .expect("it is there already");
        let names = |sets: Vec<DataSet>| {
            sets.iter()
                .map(|set| set.name.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(list_data_sets(&disk).await.expect("legal")),
            ["a", "b"]
        );
        remove_data_set(&disk, "b").await.expect("it is there");
        let after = Config::load_text(&disk).await.expect("there");
        assert_eq!(after.trim_end(), text.trim_end());
        remove_data_set(&disk, "a").await.expect("it is there");
        let after = Config::load_text(&disk).await.expect("there");
        assert!(after.contains("# mine") && list_data_sets(&disk).await.expect("legal").is_empty());
        assert!(remove_data_set(&disk, "a").await.is_err());
    }

    #[tokio::test]
    async fn a_text_that_cannot_be_edited_in_place_is_written_anew() {
        let text = "name = \"home\"\ndata = [{ name = \"a\", path = \"/a\" }]\n";
        let disk = disk(text).await;
        add_data_set(&disk, set("b")).await.expect("legal");
        remove_data_set(&disk, "a").await.expect("it is there");
        assert_eq!(list_data_sets(&disk).await.expect("legal"), [set("b")]);
    }

    #[tokio::test]
    async fn an_illegal_data_set_changes_nothing() {
        let disk = disk("name = \"home\"\n").await;
        assert!(DataSet::from_bytes("a b", b"/a").is_err());
        assert!(DataSet::from_bytes("a", b"a").is_err());
        assert!(DataSet::from_bytes("a", b"/\xff").is_err());
        for n in 0..DATA_SETS_MAX {
            add_data_set(&disk, set(&format!("s{n}")))
                .await
                .expect("room");
        }
        let twice = DataSet::from_bytes("twice", b"/srv/x0").expect("legal");
        let Err(RosterError::Edit(why)) = add_data_set(&disk, twice).await else {
            panic!("one path under two names");
        };
        assert!(why.contains("\"s0\" already"), "{why}");
        let other = DataSet::from_bytes("s0", b"/other").expect("legal");
        assert!(add_data_set(&disk, other).await.is_err());
        assert!(add_data_set(&disk, set("more")).await.is_err());
        assert_eq!(
            list_data_sets(&disk).await.expect("legal").len(),
            DATA_SETS_MAX
        );
    }
}
