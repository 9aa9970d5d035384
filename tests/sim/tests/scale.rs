//! Eight Boxes with some thousand chunks, through a partition and the loss of a Box: what was apart becomes one, and no more travels
//! than was foreseen. Fifty Boxes with a million are `cargo xtask sim --scale`.

use sim::Ran;
use sim::scale::{Scaled, Size, scale};

const EIGHT: Size = Size {
    boxes: 8,
    chunks: 4_000,
    heals: true,
    day: false,
    heap: || 0,
    tell: |_| {},
};

#[test]
fn eight_boxes_that_were_apart_have_all_copies_again_and_so_they_have_when_one_is_lost() {
    let Ran { value, .. } = scale(1, EIGHT);
    assert!(value.wrong.is_empty(), "{:#?}", value.wrong);
    let Scaled { phases, .. } = value;
    let taken = |name: &str| {
        let phase = phases.iter().find(|phase| phase.name == name);
        phase.expect("it was lived through").compared.taken
    };
    assert_eq!(taken("start") + taken("rest"), 0, "nothing was lacking");
    assert!(
        taken("apart") > 0,
        "a part of what was lost is on this side"
    );
    assert!(taken("together") > 0 && taken("loss") > 0, "{phases:#?}");
}

#[test]
fn the_same_seed_gives_the_same_run_and_what_stays_apart_does_not_become_one() {
    let few = Size {
        boxes: 6,
        chunks: 300,
        heals: false,
        ..EIGHT
    };
    let [one, other] = [3, 3].map(|seed| scale(seed, few));
    assert_eq!(one, other);
    let says = |what: &str| one.value.wrong.iter().any(|wrong| wrong.contains(what));
    assert!(says("together: after"), "{:#?}", one.value.wrong);
}
