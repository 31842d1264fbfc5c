package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// Option changes how connections are opened.
type Option func(*login)

// login is what happens around the opening of a connection; both may be nil.
type login struct {
	before  func(context.Context, *pgx.ConnConfig) error
	refused func()
}

func collect(options []Option) (l login) {
	for _, o := range options {
		o(&l)
	}
	return l
}

// WithLogin has before complete the configuration of each new connection, as with a password that is only known then.
// refused is told when the server didn't let one in: what it was given may be old. It must return at once and may be
// nil. Connections that are open stay until they are five minutes old.
func WithLogin(before func(context.Context, *pgx.ConnConfig) error, refused func()) Option {
	return func(l *login) { l.before, l.refused = before, refused }
}

// Password logs in with what get returns, as the URL's user.
func Password(get func(context.Context) (string, error)) func(context.Context, *pgx.ConnConfig) error {
	return func(ctx context.Context, config *pgx.ConnConfig) (err error) {
		config.Password, err = get(ctx)
		return err
	}
}

// Following connects to where the connection string leads at the moment, as whom it says.
func Following(url func() string) func(context.Context, *pgx.ConnConfig) error {
	return func(_ context.Context, config *pgx.ConnConfig) error {
		now, err := pgx.ParseConfig(url())
		if err != nil {
			return errors.New("the database's new connection string is none (postgres://user:password@host:port/database)")
		}
		config.Host, config.Port, config.Database = now.Host, now.Port, now.Database
		config.User, config.Password = now.User, now.Password
		config.TLSConfig, config.Fallbacks = now.TLSConfig, now.Fallbacks
		return nil
	}
}
