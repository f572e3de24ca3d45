//! The progress bar: on standard error, and only if that is a terminal.

use hitless::upgrade::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Gone when dropped.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Bar {
        // The target hides itself if standard error is no terminal.
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg:24} {wide_bar} {percent:>3} % {elapsed}") {
            bar.set_style(style);
        }
        Bar(bar)
    }

    pub(super) fn show(&self, progress: &Progress<'_>) {
        match progress {
            Progress::Tracing => self.0.set_message("attaching mirrors"),
            Progress::Copying {
                map, visited, total, ..
            } => {
                if self.0.length() != Some(*total) || *visited < self.0.position() {
                    self.0.set_length(*total);
                }
                if !self.0.is_hidden() {
                    self.0.set_message(format!("copying {map}"));
                }
                self.0.set_position(*visited);
            }
            Progress::Cutover { attempt } if *attempt > 1 => {
                self.0.set_message(format!("cutover, attempt {attempt}"));
            }
            Progress::Cutover { .. } | Progress::Done => {}
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
