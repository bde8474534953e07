//! The terminal: taken over, painted on, and given back as it was found on every way out.

use std::io::{self, BufWriter, Stdout, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{
    DisableBracketedPaste, EnableBracketedPaste, KeyboardEnhancementFlags,
    PopKeyboardEnhancementFlags, PushKeyboardEnhancementFlags,
};
use ratatui::crossterm::style::Print;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    SetTitle, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};
use ratatui::layout::{Position, Rect};

/// Bytes of a frame that are kept together.
const FRAME_BUFFER: usize = 64 * 1024;
/// The terminal keeps its title aside, and takes it back.
const KEEP_TITLE: &str = "\x1b[22;2t";
/// See `KEEP_TITLE`.
const TAKE_TITLE_BACK: &str = "\x1b[23;2t";
/// Buttons and the wheel, without the flood of every movement that crossterm's own command asks for.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
/// See `MOUSE_ON`.
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";

/// How soon after our own sleep the signal that woke us may still come.
const WAKE_ECHO: Duration = Duration::from_secs(1);

/// Whether the terminal is ours now; the panic hook has no other way to know.
static TAKEN: AtomicBool = AtomicBool::new(false);

type Backend = CrosstermBackend<BufWriter<Stdout>>;

/// How to take the terminal.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The title of the window.
    pub(crate) title: String,
    /// The wheel scrolls.
    pub(crate) mouse: bool,
}

/// The terminal while it is ours. Dropping it gives the terminal back.
pub(crate) struct Screen {
    terminal: Terminal<Backend>,
    options: Options,
    woken: Option<Instant>,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// Whatever the terminal says; it is then as it was found.
    pub(crate) fn take(options: Options) -> io::Result<Self> {
        install_panic_hook();
        take(&options).inspect_err(|_| give_back())?;
        let backend = CrosstermBackend::new(BufWriter::with_capacity(FRAME_BUFFER, io::stdout()));
        let terminal = Terminal::new(backend).inspect_err(|_| give_back())?;
        Ok(Self {
            terminal,
            options,
            woken: None,
        })
    }

    /// Columns and rows.
    ///
    /// # Errors
    /// Whatever the terminal says.
    pub(crate) fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }

    /// Paints one frame, shown at once as a whole where the terminal can do that.
    ///
    /// # Errors
    /// Whatever the terminal says; or that a panic elsewhere gave the terminal back, whose words are on
    /// the screen now and stay readable.
    pub(crate) fn paint(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        if !TAKEN.load(Ordering::SeqCst) {
            return Err(io::Error::other("given back after a panic, see above"));
        }
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        let drawn = self.terminal.draw(draw).map(|_| ());
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        std::io::Write::flush(self.terminal.backend_mut())?;
        drawn
    }

    /// Forgets what is on the screen, so that the next frame paints all of it.
    ///
    /// # Errors
    /// Whatever the terminal says.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        // Not ratatui's `clear`, which asks the terminal where its cursor is and waits for the answer.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))
    }

    /// Sets the title of the window.
    ///
    /// # Errors
    /// Whatever the terminal says.
    pub(crate) fn set_title(&mut self, title: &str) -> io::Result<()> {
        self.options.title = title.to_owned();
        execute!(self.terminal.backend_mut(), SetTitle(title))
    }

    /// Gives the terminal back, stops this process as a shell would, and takes the terminal again
    /// when it is woken.
    ///
    /// # Errors
    /// Whatever the terminal says.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        #[cfg(unix)]
        {
            use nix::sys::signal::{Signal, raise};
            raise(Signal::SIGSTOP).map_err(io::Error::from)?;
        }
        self.take_again()
    }

    /// Takes the terminal again after something else had stopped the process. The wake-up that follows
    /// our own sleep has been answered already.
    ///
    /// # Errors
    /// Whatever the terminal says.
    pub(crate) fn wake(&mut self) -> io::Result<()> {
        if self.woken.is_some_and(|woken| woken.elapsed() < WAKE_ECHO) {
            return Ok(());
        }
        give_back();
        self.take_again()
    }

    fn take_again(&mut self) -> io::Result<()> {
        self.woken = Some(Instant::now());
        take(&self.options)?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// A few terminals print what they do not know; they get only what every terminal knows.
fn is_simple() -> bool {
    matches!(
        std::env::var("TERM").as_deref(),
        Ok("linux" | "dumb") | Err(_)
    )
}

fn take(options: &Options) -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let mut out = io::stdout();
    execute!(out, EnterAlternateScreen, EnableBracketedPaste)?;
    if !is_simple() {
        execute!(
            out,
            Print(KEEP_TITLE),
            SetTitle(&options.title),
            PushKeyboardEnhancementFlags(KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES)
        )?;
    }
    if options.mouse {
        execute!(out, Print(MOUSE_ON))?;
    }
    Ok(())
}

/// Gives the terminal back. Errors have nowhere to go: the terminal may be gone.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = io::stdout();
    let _ = execute!(out, EndSynchronizedUpdate, Print(MOUSE_OFF));
    if !is_simple() {
        let _ = execute!(out, PopKeyboardEnhancementFlags, Print(TAKE_TITLE_BACK));
    }
    let _ = execute!(out, DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    let _ = out.flush();
}

/// A panic gives the terminal back before its words are printed.
fn install_panic_hook() {
    static INSTALLED: std::sync::Once = std::sync::Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
}
