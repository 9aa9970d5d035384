//! Stories of a new epoch of keys: files that are what they were are known, whatever name their data goes by.

use super::growth::{begin_new_epoch, new_data, with_films};
use super::house::{House, bytes, run};

/// More than half of all files, so that all of them rewritten at once would wait for a person.
const FILMS: u8 = 250;

fn rewrite_films(house: &House) {
    for number in 0..FILMS {
        let locked = bytes("locked", number, 5000);
        house.world.tree.file(format!("/d/films/{number}"), locked);
    }
}

#[test]
fn files_that_are_touched_in_a_new_epoch_are_neither_rewritten_nor_sent_again() {
    run(async {
        let mut house = with_films(FILMS);
        let before = house.take().await.expect("taken");
        begin_new_epoch(&mut house);
        house.world.tree.touch_all();
        let after = house.take().await.expect("taken");
        assert!(after.head.head.accepted, "they are what they were");
        assert_eq!(new_data(&house, &before, &after), 0);
        assert_eq!(house.contents(&after), house.expected());
        house.assert_placed(&after, None).await;
    });
}

#[test]
fn files_that_every_keeper_lost_are_sent_again_in_a_new_epoch_and_not_taken_for_rewritten() {
    run(async {
        let mut house = with_films(FILMS);
        house.take().await.expect("taken");
        begin_new_epoch(&mut house);
        for shop in house.street.0.shops.values() {
            shop.chunks.borrow_mut().clear();
        }
        let after = house.take().await.expect("taken");
        assert!(after.head.head.accepted, "they are what they were");
        assert_eq!(house.contents(&after), house.expected());
        house.assert_placed(&after, None).await;
        // And what was rewritten is.
        rewrite_films(&house);
        assert!(!house.take().await.expect("taken").head.head.accepted);
    });
}

#[test]
fn files_that_are_rewritten_in_a_new_epoch_wait_for_a_person() {
    run(async {
        let mut house = with_films(FILMS);
        house.take().await.expect("taken");
        begin_new_epoch(&mut house);
        rewrite_films(&house);
        assert!(!house.take().await.expect("taken").head.head.accepted);
    });
}
