//! Directories that somebody swaps for links while a restore writes into them.

use std::fs;
use std::os::unix::fs::symlink;

use super::restoring::tests::{new_file, own, place};
use super::restoring::write_all;
use crate::world::FileKind;

#[test]
fn a_directory_swapped_for_a_link_during_a_restore_leads_nothing_outside() {
    // Whether the directory was the one opened last or not.
    for is_last in [true, false] {
        let mut place = place();
        let outside = place.path().join("../../outside");
        let any = own(0o600, 1, 2);
        place.root.make_dir(&mut place.last, b"d").expect("makes");
        place.root.make_dir(&mut place.last, b"d/e").expect("makes");
        let new = |path: &[u8]| new_file(path, &any);
        place
            .root
            .write_small(&mut place.last, &new(b"first"))
            .expect("writes");
        let created = place.root.create(&mut place.last, b"d/film");
        let (file, part) = created.expect("creates");
        write_all(&file, b"half", 0).expect("writes");
        if !is_last {
            place.last = None;
        }
        fs::rename(place.path().join("d"), place.path().join("aside")).expect("moves");
        symlink(&outside, place.path().join("d")).expect("links");
        let nothing_is_outside = || {
            let names = fs::read_dir(&outside).expect("lists").count();
            assert_eq!(names, 0, "{is_last}");
        };
        let (root, last) = (&place.root, &mut place.last);
        // Each of these ends in an error, or in the directory that was made, wherever it is now.
        let _ = root.finish(last, &file, &part, b"d/film", &any);
        let _ = root.write_small(last, &new(b"d/small"));
        let _ = root.make_dir(last, b"d/dir");
        let _ = root.make_symlink(last, b"d/link", b"t");
        let _ = root.make_special(last, b"d/pipe", FileKind::Fifo, 0);
        let _ = root.link(last, b"first", b"d/name");
        let _ = root.write_small(last, &new(b"d/e/small"));
        let _ = root.set(last, b"d/e", &any);
        let _ = root.open_part(last, b"d/large");
        let _ = root.remove(last, b"d/kept");
        let _ = root.sweep_parts(last, b"d");
        nothing_is_outside();
        assert!(root.make_dir(last, b"d").is_err(), "a link is no directory");
        let late = root.write_small(&mut None, &new(b"d/late"));
        late.expect_err("goes through a link");
        nothing_is_outside();
    }
}
