"""The verbs and their options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from modelhandoff.cli.kubectl.kubeconfig import Target
from modelhandoff.cli.kubectl.options import (
    Comment,
    Context,
    Everywhere,
    Kubeconfig,
    MaybeName,
    Name,
    Namespace,
    Role,
)
from modelhandoff.cli.kubectl.printing import Format
from modelhandoff.cli.kubectl.problem import Code, Trouble
from modelhandoff.errors import cut

PROGRAM = "kubectl handoff"
app = typer.Typer(
    name=PROGRAM,
    help="See, understand and steer model handoffs. Exit code 1: usage or connection.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Output = Annotated[Format | None, typer.Option("-o", "--output", help="json, yaml, name or wide.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]


@app.command(rich_help_panel="See")
def get(  # noqa: PLR0917 - typer: one parameter per option
    name: Annotated[list[str] | None, typer.Argument(help="Names; all when none is given.")] = None,
    namespace: Namespace = "",
    everywhere: Everywhere = False,
    selector: Annotated[str, typer.Option("-l", "--selector", help="Label selector.")] = "",
    output: Output = None,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """List handoffs."""
    from modelhandoff.cli.kubectl.listing import get as show

    show(
        _api(kubeconfig, context, namespace),
        name or (),
        everywhere=everywhere,
        labels=selector,
        output=output,
    )


@app.command(rich_help_panel="See")
def status(  # noqa: PLR0917 - typer: one parameter per option
    name: MaybeName = "",
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Keep showing it.")] = False,
    namespace: Namespace = "",
    everywhere: Everywhere = False,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Show one handoff: is production safe, which version serves, why, what next."""
    from modelhandoff.cli.kubectl.screen import show

    show(_api(kubeconfig, context, namespace), name, everywhere=everywhere, follow=watch)


@app.command(rich_help_panel="See")
def explain(
    name: MaybeName = "",
    namespace: Namespace = "",
    everywhere: Everywhere = False,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Say why: the rule, its inputs and thresholds, the distance, what would flip the verdict."""
    from modelhandoff.cli.kubectl.explain import show

    show(_api(kubeconfig, context, namespace), name, everywhere=everywhere)


@app.command(rich_help_panel="See")
def history(  # noqa: PLR0917 - typer: one parameter per option
    name: MaybeName = "",
    namespace: Namespace = "",
    everywhere: Everywhere = False,
    output: Output = None,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """List the attempts of a handoff, newest first."""
    from modelhandoff.cli.kubectl.listing import history as show

    show(_api(kubeconfig, context, namespace), name, everywhere=everywhere, output=output)


@app.command(rich_help_panel="See")
def readme(  # noqa: PLR0917 - typer: one parameter per option
    name: MaybeName = "",
    traffic: Annotated[
        str, typer.Option(help="Requests of both versions: 60/s. 1, 10 and 100/s when not set.")
    ] = "",
    namespace: Namespace = "",
    everywhere: Everywhere = False,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Write the handoff README: the whole resource as one Markdown document for people."""
    from modelhandoff.cli import inputs
    from modelhandoff.cli.kubectl.documents import readme as show
    from modelhandoff.cli.readme import LEVELS

    levels = (inputs.traffic(traffic),) if traffic else LEVELS
    show(_api(kubeconfig, context, namespace), name, everywhere=everywhere, levels=levels)


@app.command(rich_help_panel="See")
def report(  # noqa: PLR0917 - typer: one parameter per option
    name: MaybeName = "",
    attempt: Annotated[
        str, typer.Option(help="Name of an attempt; the current one when not set.")
    ] = "",
    output: Annotated[str, typer.Option("-o", "--output", help="md or html.")] = "md",
    namespace: Namespace = "",
    everywhere: Everywhere = False,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Print the decision report: as it was kept when the attempt ended, else made now."""
    from modelhandoff.cli.kubectl.documents import report as show

    api = _api(kubeconfig, context, namespace)
    show(api, name, everywhere=everywhere, attempt=attempt, output=output)


@app.command(rich_help_panel="See")
def wait(  # noqa: PLR0917 - typer: one parameter per option
    name: Name,
    timeout: Annotated[
        str, typer.Option(help="Longest wait, such as 90s, 20m or 72h; no end when not set.")
    ] = "",
    fail_on_pause: Annotated[
        bool, typer.Option("--fail-on-pause", help="End with 4 when it waits for a person.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print the last line only.")] = False,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Wait for the verdict.

    Exit codes: 0 promoted, 2 rolled back, 3 rejected before traffic, 4 paused (with
    --fail-on-pause), 5 inconclusive, 6 aborted, 1 usage or connection, 124 timeout.
    """
    from modelhandoff.cli.kubectl.waiting import wait as await_verdict

    raise typer.Exit(
        await_verdict(
            _api(kubeconfig, context, namespace),
            name,
            timeout=timeout,
            fail_on_pause=fail_on_pause,
            quiet=quiet,
        )
    )


@app.command(rich_help_panel="Steer")
def pause(
    name: Name,
    dry_run: DryRun = False,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Hold at the present weight; harm is still acted on."""
    from modelhandoff.cli.kubectl import verbs

    verbs.pause(_api(kubeconfig, context, namespace), name, dry_run=dry_run)


@app.command(rich_help_panel="Steer")
def resume(
    name: Name,
    dry_run: DryRun = False,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """End a pause."""
    from modelhandoff.cli.kubectl import verbs

    verbs.resume(_api(kubeconfig, context, namespace), name, dry_run=dry_run)


@app.command(rich_help_panel="Steer")
def promote(
    name: Name,
    dry_run: DryRun = False,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Give the candidate all traffic now; refused while a metric fails."""
    from modelhandoff.cli.kubectl import verbs

    verbs.promote(_api(kubeconfig, context, namespace), name, dry_run=dry_run)


@app.command(rich_help_panel="Steer")
def retry(
    name: Name,
    dry_run: DryRun = False,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Try the same candidate again, from the beginning."""
    from modelhandoff.cli.kubectl import verbs

    verbs.retry(_api(kubeconfig, context, namespace), name, dry_run=dry_run)


@app.command(rich_help_panel="Steer")
def abort(  # noqa: PLR0917 - typer: one parameter per option
    name: Name,
    yes: Annotated[
        bool, typer.Option("-y", "--yes", help="Do not ask before the manual fallback.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait until the weight is 0.")
    ] = False,
    operator_namespace: Annotated[
        str, typer.Option(help="Where the operator runs; searched for when not set.")
    ] = "",
    dry_run: DryRun = False,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Take all traffic off the candidate, now and for good.

    Without a running operator it offers to set the weight on the HTTPRoute by itself.
    """
    from modelhandoff.cli.kubectl import verbs

    verbs.abort(
        _api(kubeconfig, context, namespace),
        name,
        yes=yes,
        confirm=not no_wait,
        operator_namespace=operator_namespace,
        dry_run=dry_run,
    )


@app.command(rich_help_panel="Sign")
def approve(  # noqa: PLR0917 - typer: one parameter per option
    name: Name,
    role: Role = "",
    comment: Comment = "",
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    output: Output = None,
    dry_run: DryRun = False,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Sign what the handoff says now, in a role that has to approve it.

    Exit code 0 when the signature counts, 1 when it does not or nothing was signed.
    """
    _sign("Approve", name, role, comment, yes, output, dry_run, (kubeconfig, context, namespace))


@app.command(rich_help_panel="Sign")
def reject(  # noqa: PLR0917 - typer: one parameter per option
    name: Name,
    role: Role = "",
    comment: Comment = "",
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    output: Output = None,
    dry_run: DryRun = False,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Refuse what the handoff says now, for good; during a rollout it takes the traffic off.

    Exit code 0 when the signature counts, 1 when it does not or nothing was signed.
    """
    _sign("Reject", name, role, comment, yes, output, dry_run, (kubeconfig, context, namespace))


@app.command(rich_help_panel="Check")
def lint(
    files: Annotated[
        list[Path], typer.Argument(help="YAML files or folders; - for standard input.")
    ],
    policy: Annotated[
        Path | None, typer.Option(help="YAML file with the HandoffPolicy to check against.")
    ] = None,
    output: Annotated[
        Format | None, typer.Option("-o", "--output", help="json for findings as JSON.")
    ] = None,
) -> None:
    """Check manifests offline, by the rules of the operator; exit code 1 on findings."""
    from modelhandoff.cli.kubectl.lint import lint as check

    raise typer.Exit(check(files, policy, output))


@app.command(rich_help_panel="Check")
def doctor(
    namespace: Namespace = "",
    operator_namespace: Annotated[
        str, typer.Option(help="Where the operator runs; searched for when not set.")
    ] = "",
    installation: Annotated[
        bool, typer.Option("--installation", help="Leave your own rights aside.")
    ] = False,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Check the installation and your rights; exit code 1 when something is broken."""
    from modelhandoff.cli.kubectl.doctor import doctor as check

    api = _api(kubeconfig, context, namespace)
    raise typer.Exit(check(api, operator_namespace, installation=installation))


def _sign(  # noqa: PLR0917 - the options of two verbs
    decision: str,
    name: str,
    role: str,
    comment: str,
    yes: bool,
    output: Format | None,
    dry_run: bool,
    target: tuple[str, str, str],
) -> None:
    from modelhandoff.cli.kubectl.signing import Wish, sign

    wish = Wish(decision, role, comment, yes, dry_run, output)
    raise typer.Exit(sign(_api(*target), name, wish))


def _api(kubeconfig: str, context: str, namespace: str) -> Any:
    from modelhandoff.cli.kubectl.api import Api

    return Api.connect(Target(kubeconfig, context, namespace))


def command() -> Any:
    """The whole command line as one click command."""
    return typer.main.get_command(app)


def execute(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code.

    Raises:
        Trouble: also for a command line that means nothing.
        KeyboardInterrupt: a question was answered with Ctrl-C.
    """
    usage_error: Any = typer.BadParameter.__bases__[0]
    click_error: Any = usage_error.__bases__[0]
    try:
        code = command().main(list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except click_error as wrong:
        said = str(wrong.format_message())
        if type(wrong).__name__ == "NoArgsIsHelpError":
            return Code.OK  # The help is on the screen already.
        context = getattr(wrong, "ctx", None)
        where = context.command_path if context is not None else PROGRAM
        raise Trouble(f"{cut(said, 400)} See: {where} --help") from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    return int(code) if isinstance(code, int) else Code.OK
