//! Ctrl-C while a command waits for work that goes on without it.

use std::process;

use tokio::signal::unix::{SignalKind, signal};

use super::fault::Exit;
use super::text;

/// From now on ctrl-C says this and ends the command; what the keeper does goes on.
pub fn says(last_words: String) {
    let waiting = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        else {
            return;
        };
        let is_pressed = runtime.block_on(async {
            match signal(SignalKind::interrupt()) {
                Ok(mut interrupt) => interrupt.recv().await.is_some(),
                Err(_) => false,
            }
        });
        if is_pressed {
            text::tell(&last_words);
            process::exit(Exit::Failed as i32);
        }
    };
    // Without it ctrl-C ends the command as it always does, only without a word.
    let _ = std::thread::Builder::new()
        .name("ctrl-c".into())
        .spawn(waiting);
}
