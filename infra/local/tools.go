package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/company/order-catalog-service/functions/catalog"
	"github.com/company/order-catalog-service/infra/local/pgserver"
	"github.com/company/order-catalog-service/shared/postgres"
)

// tokenCommand is `make token`.
type tokenCommand struct {
	IssuerPort int    `env:"ISSUER_PORT" default:"7072" help:"Where the stack's own issuer listens."`
	Issuer     string `env:"AUTH_ISSUER" help:"Another issuer than the stack's own."`
	Sub        string `default:"customer-1" help:"Who the token is for."`
	Scope      string `default:"catalog:read order:read order:write order:cancel" help:"Its scopes."`
	Roles      string `help:"App roles, as in admin."`
	Email      string `help:"An address, as the claim email."`
}

// Run prints the token and nothing else.
func (c *tokenCommand) Run() error {
	issuer := strings.TrimSuffix(c.Issuer, "/")
	if issuer == "" {
		issuer = "http://127.0.0.1:" + strconv.Itoa(c.IssuerPort)
	}
	form := url.Values{"grant_type": {"client_credentials"}, "sub": {c.Sub}, "scope": {c.Scope}}
	if c.Roles != "" {
		form.Set("roles", c.Roles)
	}
	if c.Email != "" {
		form.Set("email", c.Email)
	}
	client := http.Client{Timeout: 5 * time.Second}
	res, err := client.PostForm(issuer+"/token", form) //nolint:noctx // bounded by the client's timeout
	if err != nil {
		return fmt.Errorf("no token issuer at %s (is the stack running? make run): %w", issuer, err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("reading the issuer's answer: %w", err)
	}
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(raw, &body); err != nil || body.AccessToken == "" {
		return fmt.Errorf("%s answered %s: %s", issuer, res.Status, raw)
	}
	fmt.Println(body.AccessToken)
	return nil
}

// rotateCommand is `local rotate`.
type rotateCommand struct {
	IssuerPort int  `env:"ISSUER_PORT" default:"7072" help:"Where the stack's own issuer listens."`
	Emergency  bool `help:"Replace all keys by ones that no verifier has seen, as after a theft: tokens of the old ones are worth nothing once verifiers look."`
}

// Help is what `rotate --help` says beyond the flags.
func (*rotateCommand) Help() string {
	return `The next key was published ahead, so no verifier is taken by surprise; the former one stays published until the next rotation, so its tokens live on. The same by HTTP: POST /rotate at the issuer, with emergency=true in a form.`
}

// Run prints the public keys, the one in use first.
func (c *rotateCommand) Run() error {
	address := "http://127.0.0.1:" + strconv.Itoa(c.IssuerPort)
	client := http.Client{Timeout: 5 * time.Second}
	res, err := client.PostForm(address+"/rotate", url.Values{"emergency": {strconv.FormatBool(c.Emergency)}}) //nolint:noctx // bounded by the client's timeout
	if err != nil {
		return fmt.Errorf("no token issuer at %s (is the stack running? make run): %w", address, err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("reading the issuer's answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s: %s", address, res.Status, raw)
	}
	fmt.Print(string(raw))
	return nil
}

// seedCommand is `make seed FILE=...`.
type seedCommand struct {
	PGPort   int    `env:"PG_PORT" name:"pg-port" default:"7432" help:"Where the stack's own PostgreSQL listens."`
	Database string `env:"DATABASE_URL" help:"Another database than the stack's own."`
	File     string `arg:"" type:"existingfile" help:"CSV (sku,name,description,category,price,currency,stock) or JSON (an array of the same members)."`
}

// Run imports the file, all of it or nothing.
func (c *seedCommand) Run() error {
	ctx, stop := untilAskedToStop()
	defer stop()
	file, err := os.Open(c.File)
	if err != nil {
		return fmt.Errorf("opening the catalog: %w", err)
	}
	defer func() { _ = file.Close() }()
	rows, err := catalog.Read(c.File, file)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	address := c.Database
	if address == "" {
		address = fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", pgserver.App, c.PGPort, pgserver.Database)
	}
	if err := importRows(ctx, address, rows, progressBar(os.Stdout)); err != nil {
		if errors.Is(err, postgres.ErrUnavailable) {
			return fmt.Errorf("%w (is the stack running? make run)", err)
		}
		return err
	}
	fmt.Printf("%d products imported\n", len(rows))
	return nil
}

func importRows(ctx context.Context, address string, rows []catalog.Row, progress func(done, total int)) error {
	pools, err := postgres.Open(ctx, address, postgres.Budget{Orders: 1, Reads: 1, Background: 1, Acquire: 10 * time.Second})
	if err != nil {
		return err
	}
	defer pools.Close()
	return catalog.Import(ctx, pools.Orders, rows, progress)
}

// progressBar draws one line over and over, no more often than it changes.
func progressBar(out io.Writer) func(done, total int) {
	const width = 40
	drawn := -1
	return func(done, total int) {
		percent := 100 * done / max(total, 1)
		if percent == drawn {
			return
		}
		drawn = percent
		full := width * percent / 100
		_, _ = fmt.Fprintf(out, "\r[%s%s] %3d %%", strings.Repeat("#", full), strings.Repeat(".", width-full), percent)
		if done >= total {
			_, _ = fmt.Fprintln(out)
		}
	}
}

// resetCommand is `make reset`.
type resetCommand struct{}

// Run deletes what `make run` keeps. It refuses while a stack runs.
func (*resetCommand) Run(root checkout) (err error) {
	lock, err := root.lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	inUse, err := root.sweep()
	if err != nil {
		return err
	}
	if len(inUse) > 0 {
		return fmt.Errorf("tests or benchmarks of this checkout are running (in %s): wait for their end", strings.Join(inUse, ", "))
	}
	if err := pgserver.Wipe(root.local("postgres")); err != nil {
		return err
	}
	entries, err := os.ReadDir(root.local())
	if err != nil {
		return fmt.Errorf("reading %s: %w", root.local(), err)
	}
	for _, entry := range entries {
		if entry.Name() == lockFile {
			continue // we hold it
		}
		if err := os.RemoveAll(root.local(entry.Name())); err != nil {
			return fmt.Errorf("deleting the stack's data: %w", err)
		}
	}
	fmt.Println("Deleted the stack's data in", root.local())
	return nil
}
