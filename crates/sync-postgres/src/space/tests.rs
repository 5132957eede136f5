use super::*;

#[test]
fn readers_of_one_server_agree_on_the_epoch_and_those_of_two_do_not() {
    let stored = Epoch::new([7; 16]);
    let (a, b) = (
        epoch_on(stored, "1:00000001"),
        epoch_on(stored, "1:00000002"),
    );
    assert_eq!(a, epoch_on(stored, "1:00000001"));
    assert_ne!(a, b);
    assert_ne!(a, stored);
    assert_ne!(a, epoch_on(Epoch::new([8; 16]), "1:00000001"));
}
