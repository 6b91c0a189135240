"""The dashboard: a view of the fleet on a beat, keys that become requests, and results that stay in sight."""

from __future__ import annotations

import gc
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import on, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.screen import ModalScreen

from openrtc_tui.operations.choices import promotable, returnable
from openrtc_tui.operations.intent import confirm, intend
from openrtc_tui.operations.plans.sight import newest_manifest
from openrtc_tui.screens.details import DetailsScreen
from openrtc_tui.screens.main import MainScreen
from openrtc_tui.screens.wanted import (
    AbortWanted,
    ActionWanted,
    AuditWanted,
    DetailsWanted,
    HelpWanted,
    PlanWanted,
    ResultsDismissed,
    ResumeWanted,
    RolloutWanted,
    RunDismissed,
)
from openrtc_tui.trail_reader import read_trail
from openrtc_tui.watched import CannotSteer, CannotWatch, ReadFailed
from openrtc_tui.widgets.facts import Read
from openrtc_tui.widgets.glyphs import UNICODE
from openrtc_tui.widgets.lines import Watching
from openrtc_tui.widgets.no_colour import NoColourCodes
from openrtc_tui.widgets.palette import PALETTES
from openrtc_tui.widgets.results import Outcome, ResultLog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from textual.driver import Driver
    from textual.filter import LineFilter
    from textual.screen import Screen

    from openrtc_tui.operations.intent import Intent, Refusal
    from openrtc_tui.operations.plans.plan import Plan, Run, RunWord
    from openrtc_tui.operations.request import Ask
    from openrtc_tui.screens.audit import AuditScreen
    from openrtc_tui.screens.confirm import Approval
    from openrtc_tui.screens.plan import PlanScreen
    from openrtc_tui.watched import Session, Steering
    from openrtc_tui.widgets.paint import Line, Look

SLOWEST_BEAT: Final = 0.25
"""Seconds between two looks at the fleet, at most; a fleet file with a shorter ``refresh`` makes it shorter."""

REREAD_DETAILS: Final = 2.0
"""Seconds between two readings of a worker's live calls while its details are open."""

REREAD_AUDIT: Final = 5.0
"""Seconds between two readings of everybody's audit events while they are looked at."""

SETTLED_AFTER: Final = 2.0
"""Seconds after which what was made at the start is there to stay, and needs no look by the garbage collector."""

INTERRUPTED: Final = 130
HUNG_UP: Final = 129


def _freeze() -> None:
    gc.collect()
    gc.freeze()


class DeployApp(App[int]):
    """The whole dashboard over one session. Its result is the process' exit code."""

    TITLE = "OpenRTC Deploy"
    CSS_PATH: ClassVar = [
        "app.tcss",
        "screens/main.tcss",
        "screens/details.tcss",
        "screens/dialog.tcss",
        "screens/plan.tcss",
        "screens/audit.tcss",
        "screens/help.tcss",
    ]
    ALLOW_SELECT = False
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "leave", "Quit", show=False, priority=True, id="app.leave"),
        Binding("ctrl+c", "interrupt", "Interrupt", show=False, priority=True, id="app.interrupt"),
    ]

    def __init__(
        self,
        session: Session,
        look: Look,
        *,
        driver_class: type[Driver] | None = None,
        terminal_gone: Callable[[], bool] = lambda: False,
        leaving: str | None = None,
    ) -> None:
        # without colours Textual must not turn "no colour" into its own greys
        super().__init__(driver_class=driver_class, ansi_color=True if look.palette.plain else None)
        self._terminal_gone = terminal_gone
        self._leaving = leaving
        self._session = session
        self._look = look
        self._no_colours = (NoColourCodes(),)
        self._view = session.view()
        self._log_of_results = ResultLog()
        self._runs_seen: set[str] = set()
        for name in tuple(self.available_themes):
            self.unregister_theme(name)
        for palette in (look.palette, *PALETTES.values()):
            self.register_theme(palette.theme())
        self.theme = look.palette.name
        self.set_class(look.palette.plain, "-plain")
        self.set_class(look.glyphs is not UNICODE, "-ascii")

    def get_line_filters(self) -> Sequence[LineFilter]:
        return self._no_colours if self._look.palette.plain else super().get_line_filters()

    def get_default_screen(self) -> MainScreen:
        return MainScreen(self._view, self._watching(), self._look)

    def on_mount(self) -> None:
        self.call_after_refresh(self._watch_fleet)  # the first frame waits for nothing
        self.set_interval(min(SLOWEST_BEAT, self._session.beat), self._beat, name="beat")
        self.set_timer(SETTLED_AFTER, _freeze, name="settled")

    # ------------------------------------------------------------------ the beat
    @work(exit_on_error=True)
    async def _watch_fleet(self) -> None:
        try:
            await self._session.run()
        except CannotWatch as problem:
            self.exit(1, return_code=1, message=Text(str(problem)))

    def _watching(self) -> Watching:
        session = self._session
        return Watching(
            beat=session.beat,
            operator=session.operator,
            read_only=session.read_only,
            trouble=session.trouble,
        )

    def _beat(self) -> None:
        """Look at the fleet and hand what is seen to every screen that shows it."""
        if self._terminal_gone():
            self.stop(HUNG_UP)
            return
        self._view = self._session.view()
        self._log_of_results.resolve(self._view)
        self._show()

    def _show(self) -> None:
        if not self.is_running:  # a beat, or an answer, between the decision to leave and the end
            return
        watching = self._watching()
        results, run = self._log_of_results.results, self._run_in_sight()
        for screen in self.screen_stack:
            if isinstance(screen, MainScreen):
                screen.show(self._view, watching, results, run)
            elif isinstance(screen, DetailsScreen):
                screen.show(self._view, watching)

    # ------------------------------------------------------------------ from a key to requests
    @on(ActionWanted)
    def _action_wanted(self, message: ActionWanted) -> None:
        if self._session.read_only or not message.keys or self._asks_or_helps():
            return
        intent = intend(
            self._view,
            message.keys,
            message.action,
            timeout=self._session.drain_timeout,
            whole_version=message.version,
        )
        if not intent.subjects:
            for refusal in intent.refusals:
                self._not_asked(refusal, message.action)
            self._show()
            return
        from openrtc_tui.screens.confirm import ConfirmScreen

        self.push_screen(ConfirmScreen(intent, self._look), partial(self._confirmed, intent))

    def _asks_or_helps(self) -> bool:
        """Whether a confirmation or the help is open: of keys pressed before it came up only the first one counts."""
        return isinstance(self.screen, ModalScreen) and not isinstance(self.screen, CommandPalette)

    def _confirmed(self, intent: Intent, approval: Approval | None) -> None:
        if approval is None:
            return
        self._view = self._session.view()
        confirmed = confirm(intent, self._view, reason=approval.reason)
        for refusal in confirmed.refusals:
            self._not_asked(refusal, intent.action)
        for screen in self.screen_stack:
            if isinstance(screen, MainScreen):
                screen.drop_marks()
        if confirmed.asks:
            self._carry_out(confirmed.asks)
        self._show()

    def _not_asked(self, refusal: Refusal, action: str) -> None:
        row = self._view.row(refusal.key)
        self._log_of_results.add(row, refusal.key, action, outcome="not asked", detail=refusal.why)

    @work(exit_on_error=True)
    async def _carry_out(self, asks: Sequence[Ask]) -> None:
        """Send the requests; every step is seen at once, whatever screen is open."""
        log, view = self._log_of_results, self._view
        numbers = {
            ask.op_id: log.add(view.row(ask.key), ask.key, ask.action, boot_id=ask.boot_id, op_id=ask.op_id)
            for ask in asks
        }

        def change(ask: Ask, outcome: Outcome, detail: str) -> None:
            log.change(numbers[ask.op_id], outcome, detail)
            self._show()

        try:
            result = await self._session.send(
                asks,
                lambda answer: change(answer.ask, answer.outcome, answer.detail),
                lambda ask, why: change(ask, "asking", why),
            )
        except PermissionError as refusal:  # the fleet file was edited to read_only meanwhile
            for ask in asks:
                change(ask, "not asked", str(refusal))
            return
        for ask in result.not_asked:
            change(ask, "not asked", "an earlier one got no yes")

    @on(ResultsDismissed)
    def _results_dismissed(self) -> None:
        self._log_of_results.dismiss()
        self._show()

    # ------------------------------------------------------------------ rollouts: from a key to a plan that is done
    def _run_in_sight(self) -> Run | None:
        """The plan under way, else one that ended or was interrupted and that nobody dismissed yet."""
        steering = self._session.steering
        if steering is None:
            return None
        elsewhere = steering.elsewhere()
        if elsewhere is not None:
            return elsewhere
        run = steering.run
        runs = (*((run,) if run is not None else ()), *steering.interrupted())
        return next((run for run in runs if run.plan.plan_id not in self._runs_seen), None)

    @on(RolloutWanted)
    def _rollout_wanted(self, message: RolloutWanted) -> None:
        if self._session.read_only or self._asks_or_helps():
            return
        steering = self._session.steering
        self._view = self._session.view()
        versions = promotable(self._view) if message.kind == "promote" else ()
        run = steering.run if steering is not None else None
        elsewhere = steering.elsewhere() if steering is not None else None
        problem = ""
        if steering is None:
            problem = "the fleet is not watched yet"
        elif run is not None and run.word == "running":
            problem = "a plan is under way: A aborts it"
        elif elsewhere is not None:
            from openrtc_tui.widgets.rollout import name_of

            problem = f"another plan is carried out now: {name_of(elsewhere.plan)} by {elsewhere.by}"
        elif message.kind == "promote" and not versions:
            problem = "no other version has a worker that is ready to take calls"
        if problem:
            self._log_of_results.add(None, "a version", message.kind, outcome="not asked", detail=problem)
            self._show()
            return
        from openrtc_tui.screens.plan import PlanScreen

        screen = PlanScreen(message.kind, versions, self._look)
        self.push_screen(screen, partial(self._planned, screen))

    @on(PlanWanted)
    def _plan_wanted(self, message: PlanWanted) -> None:
        from openrtc_tui.screens.plan import PlanScreen

        steering = self._session.steering
        if isinstance(self.screen, PlanScreen) and steering is not None:
            self._make_plan(steering, self.screen, message)

    @work(exit_on_error=True, group="plan", exclusive=True)
    async def _make_plan(self, steering: Steering, screen: PlanScreen, wanted: PlanWanted) -> None:
        try:
            plan = await steering.plan(wanted.kind, version=wanted.version)
        except CannotSteer as problem:
            screen.show_problem(str(problem))
            return
        to = plan.to_version or wanted.version or ""
        versions = (
            promotable(self._view)
            if plan.kind == "promote"
            else returnable(self._view, to, plan.from_version, steering.left)
        )
        held = newest_manifest(self._view)
        screen.show_plan(plan, versions, held.seq if held is not None else None)

    def _planned(self, screen: PlanScreen, plan: Plan | None) -> None:
        steering = self._session.steering
        if plan is not None and steering is not None:
            self._log_of_results.begun()
            self._see_through(steering.carry_out(plan), plan)
        elif plan is None:
            self._log_of_results.cancelled(screen.version or "a version", screen.kind)
            self._show()

    @work(exit_on_error=True, group="rollout")
    async def _see_through(self, deed: Awaitable[Run | None], plan: Plan) -> None:
        """Do something with a plan; what it does is seen on each beat, and what it came to at once."""
        self._runs_seen.discard(plan.plan_id)
        try:
            await deed
        except CannotSteer as problem:
            subject = plan.to_version or plan.from_version or plan.fleet
            self._log_of_results.add(None, subject, plan.kind, outcome="not asked", detail=str(problem))
        self._show()

    @on(AbortWanted)
    def _abort_wanted(self) -> None:
        from openrtc_tui.widgets.rollout import abort_lines

        def abort(steering: Steering, _: Run) -> None:
            steering.abort()

        self._ask_about("running", "Abort", abort_lines, abort)

    @on(ResumeWanted)
    def _resume_wanted(self) -> None:
        from openrtc_tui.widgets.rollout import resume_lines

        def resume(steering: Steering, run: Run) -> None:
            self._see_through(steering.resume(run.plan.plan_id), run.plan)

        self._ask_about("interrupted", "Resume", resume_lines, resume)

    @on(RunDismissed)
    def _run_dismissed(self, message: RunDismissed) -> None:
        from openrtc_tui.widgets.rollout import give_up_lines

        def give_up(steering: Steering, run: Run) -> None:
            self._see_through(steering.abandon(run.plan.plan_id), run.plan)

        if not self._ask_about("interrupted", "Give up", give_up_lines, give_up):
            self._runs_seen.add(message.plan_id)
            self._show()

    def _ask_about(
        self,
        word: RunWord,
        verb: str,
        facts: Callable[[Run, int], Sequence[Line]],
        then: Callable[[Steering, Run], None],
    ) -> bool:
        """Ask before *verb* is done to the plan in sight; False where none is *word*, or nobody may act."""
        steering, run = self._session.steering, self._run_in_sight()
        if steering is None or run is None or run.word != word or self._asks_or_helps():
            return False
        from openrtc_tui.screens.ask import AskScreen
        from openrtc_tui.widgets.rollout import name_of

        def answered(yes: bool | None) -> None:
            if yes:
                then(steering, run)

        self.push_screen(
            AskScreen(f"{verb} the {name_of(run.plan)}?", partial(facts, run), verb, self._look), answered
        )
        return True

    # ------------------------------------------------------------------ audit
    @on(AuditWanted)
    def _audit_wanted(self) -> None:
        from openrtc_tui.screens.audit import AuditScreen

        if self._asks_or_helps() or isinstance(self.screen, AuditScreen):
            return
        screen = AuditScreen(self._look)
        self.push_screen(screen)
        self._read_trail(screen)

    @work(exit_on_error=True, group="audit", exclusive=True)
    async def _read_trail(self, screen: AuditScreen) -> None:
        """Read what was done from here, and what each worker tells, again and again while it is looked at."""
        while screen in self.screen_stack:
            screen.show_trail(await read_trail(self._session, self._view))
            await self._session.sleep(REREAD_AUDIT)

    # ------------------------------------------------------------------ details
    @on(DetailsWanted)
    def _details_wanted(self, message: DetailsWanted) -> None:
        if self._asks_or_helps() or isinstance(self.screen, DetailsScreen):
            return
        screen = DetailsScreen(message.key, self._view, self._watching(), self._look)
        self.push_screen(screen)
        self._read_details(screen)

    @work(exit_on_error=True, group="details", exclusive=True)
    async def _read_details(self, screen: DetailsScreen) -> None:
        """Read what only the worker itself can tell, again and again while its details are open."""
        read = Read()
        while screen in self.screen_stack:
            read = await self._read_sessions(screen.key, read)
            screen.show_read(read)
            read = await self._read_audit(screen.key, read)
            screen.show_read(read)
            await self._session.sleep(REREAD_DETAILS)

    async def _read_sessions(self, key: str, read: Read) -> Read:
        try:
            sessions = await self._session.sessions(key)
        except ReadFailed as failure:
            return replace(read, sessions_problem=str(failure))
        return replace(
            read, sessions=tuple(sessions.sessions), sessions_at=self._session.view().at, sessions_problem=""
        )

    async def _read_audit(self, key: str, read: Read) -> Read:
        try:
            return replace(read, audit=tuple(await self._session.audit(key)), audit_problem="")
        except ReadFailed as failure:
            return replace(read, audit_problem=str(failure))

    # ------------------------------------------------------------------ help, palette, leaving
    @on(HelpWanted)
    def _help_wanted(self) -> None:
        if self._asks_or_helps():
            return
        from openrtc_tui.screens.help import HelpScreen, sections_of

        main = next(screen for screen in self.screen_stack if isinstance(screen, MainScreen))
        self.push_screen(HelpScreen(sections_of(self, main, self._about), self._look))

    def _about(self, binding: Binding) -> str:
        """What a key does, for people; what leaving does depends on whose fleet it is."""
        if self._leaving is not None and binding.action == "app.leave":
            return self._leaving
        return binding.tooltip or binding.description

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action that works right now, and the themes; nothing of Textual's own."""
        for active in screen.active_bindings.values():
            binding = active.binding
            opens_itself = binding.action.endswith("command_palette")
            if binding.description and binding.tooltip and active.enabled and not opens_itself:
                run = partial(self.run_action, binding.action, default_namespace=active.node)
                yield SystemCommand(binding.description, self._about(binding), run)
        if not self._look.palette.plain:
            for name in PALETTES:
                yield SystemCommand(
                    f"Theme: {name}", f"Show everything in the {name} theme", partial(self._use, name)
                )

    def _use(self, name: str) -> None:
        self._look = replace(self._look, palette=PALETTES[name])
        self.theme = name
        for screen in self.screen_stack:
            if isinstance(screen, MainScreen | DetailsScreen):
                screen.look = self._look

    def action_leave(self) -> None:
        """At once and without a question."""
        self.stop(0)

    def action_interrupt(self) -> None:
        self.stop(INTERRUPTED)

    def stop(self, code: int) -> None:
        """Leave with this exit code, from wherever."""
        # first, or the search of a command palette that has just opened fails on widgets that are gone already
        self.workers.cancel_all()
        self.exit(code, return_code=code)
