package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/user"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/functions/webhooks"
	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/secrets"
	"github.com/company/order-catalog-service/shared/telemetry"
)

const rotateCommand = "rotate-webhook-keys"

const rotateHelp = `handler rotate-webhook-keys seals the secrets of webhook endpoints, and the stored answers that show them, under
the newest WebhookSecret. The service goes on meanwhile.

 1. Add a version to WebhookSecret in the vault (without a vault: move WEBHOOK_SECRET to WEBHOOK_SECRET_PREVIOUS, set
    a new one, and restart every instance).
 2. Run this. It waits until every instance knows the new version, then works in small transactions. Stop it where you
    like: the next run does what is left. Two at once do no harm.
 3. When it says that nothing is left, disable the old versions in the vault (or remove WEBHOOK_SECRET_PREVIOUS).

It reads the handler's settings from the environment and leaves its work in the audit log. Exit code 1: something is
left.

Flags:
`

// rotate is the command rotate-webhook-keys.
func rotate(ctx context.Context, arguments []string, environment map[string]string, out io.Writer) error {
	flags := flag.NewFlagSet(rotateCommand, flag.ContinueOnError)
	flags.SetOutput(out)
	batch := flags.Int("batch", 200, "endpoints of one transaction, 1 to 10000")
	dry := flags.Bool("dry-run", false, "only say what is to be done")
	actor := flags.String("actor", whoami(), "whom the audit log names")
	flags.Usage = func() {
		_, _ = fmt.Fprint(out, rotateHelp)
		flags.PrintDefaults()
	}
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if flags.NArg() > 0 || *batch < 1 || *batch > 10_000 || *actor == "" {
		return errors.New("rotate-webhook-keys takes no arguments but its flags, a --batch from 1 to 10000, and an --actor with a name; --help says more")
	}
	c, err := load(environment)
	if err != nil {
		return err
	}
	logger := telemetry.Logger(os.Stderr, c.LogLevel)
	a, err := open(ctx, c, logger, nil)
	if err != nil {
		return err
	}
	return (&rotation{access: a, out: out, batch: *batch, dry: *dry, who: auth.Identity{Issuer: audit.Command, Subject: *actor}}).run(ctx)
}

func whoami() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "unknown"
}

// rotation is one run of the command.
type rotation struct {
	access *access
	out    io.Writer
	batch  int
	dry    bool
	who    auth.Identity
}

func (r *rotation) say(format string, args ...any) { _, _ = fmt.Fprintf(r.out, format+"\n", args...) }

func (r *rotation) run(ctx context.Context) error {
	if err := r.wait(ctx); err != nil {
		return err
	}
	c := r.access.config
	pools, err := postgres.Open(ctx, r.access.databaseURL(), postgres.Budget{Orders: 1, Reads: 1, Background: 2, Acquire: 5 * time.Second}, r.access.databaseLogin()...)
	if err != nil {
		return err
	}
	defer pools.Close()
	logger := telemetry.Logger(os.Stderr, c.LogLevel)
	endpoints, err := r.access.box(boxEndpoints, logger)
	if err != nil {
		return err
	}
	answers, err := r.access.box(boxAnswers, logger)
	if err != nil {
		return err
	}
	rekey := &webhooks.Rekey{Pool: pools.Background, Box: endpoints, Who: r.who, Batch: r.batch}
	left, err := rekey.Left(ctx)
	if err != nil {
		return err
	}
	r.say("endpoint secrets: %d to seal under key %s", left, endpoints.KeyID())
	if r.dry {
		return nil
	}
	if err := rekey.Run(ctx, func(done int) { r.say("endpoint secrets: %d of %d", done, left) }); err != nil {
		return err
	}
	written := func(ctx context.Context, tx pgx.Tx, n int) error {
		return audit.Write(ctx, tx, audit.Entry{
			Who: r.who, Action: audit.KeysRotated, Target: "idempotency_keys", Details: map[string]any{"count": n, "key": answers.KeyID()},
		})
	}
	_, lost, err := idempotency.Rekey(ctx, pools.Background, answers, written, func(part, parts, done int) {
		r.say("stored answers: %d, part %d of %d", done, part, parts)
	})
	if err != nil {
		return err
	}
	if lost > 0 {
		r.say("stored answers: %d can't be opened by any version; they end within 48 hours of their request", lost)
	}
	if left, err = rekey.Left(ctx); err != nil {
		return err
	}
	if left > 0 {
		return fmt.Errorf("%d endpoint secrets are left: those of %v can't be opened by any version that is enabled; enable theirs again, or have their owners rotate them", left, rekey.Lost)
	}
	r.say("nothing is left: older versions of %s may go", secrets.WebhookSecret)
	return nil
}

// wait holds on until every instance knows the newest version: one that doesn't would seal under the old one behind our
// back, and couldn't open what we seal.
func (r *rotation) wait(ctx context.Context) error {
	at := r.access.store.Settles(secrets.WebhookSecret)
	if at.IsZero() || r.dry {
		return nil
	}
	r.say("waiting until %s, when every instance knows the newest version of %s", at.Format(time.RFC3339), secrets.WebhookSecret)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(at)):
		return nil
	}
}
