package postgres_test

import (
	"context"
	"io/fs"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/kit"
)

var ctx = context.Background()

// Eight instances start at once on a database that has nothing: all of them come up, and each step is done once.
func TestInstancesThatStartTogetherMigrateOnce(t *testing.T) {
	t.Parallel()
	d := kit.NewEmptyDatabase(t)
	steps, err := fs.Glob(postgres.Migrations(), "*.sql")
	require.NoError(t, err)
	var done atomic.Int64
	var instances errgroup.Group
	for range 8 {
		instances.Go(func() error {
			return postgres.Migrate(ctx, d.OwnerURL, func(string) { done.Add(1) })
		})
	}
	require.NoError(t, instances.Wait())
	assert.EqualValues(t, len(steps), done.Load(), "steps done by all together")
	assert.Equal(t, len(steps), kit.One[int](t, d, `SELECT count(*) FROM goose_db_version WHERE version_id > 0`))
	assert.Equal(t, len(steps), kit.One[int](t, d, `SELECT count(DISTINCT version_id) FROM goose_db_version WHERE version_id > 0`))

	require.NoError(t, postgres.Migrate(ctx, d.OwnerURL, func(step string) { t.Error("done again:", step) }))
}

func TestMigrateDoesNotRepeatThePassword(t *testing.T) {
	t.Parallel()
	err := postgres.Migrate(ctx, "postgres://owner:secret@host:port/database", nil)
	require.ErrorContains(t, err, "MIGRATIONS_DATABASE_URL")
	assert.NotContains(t, err.Error(), "secret")
	_, err = postgres.Open(ctx, "postgres://app:secret@host:port/database", postgres.Budget{Orders: 1, Reads: 1, Background: 1})
	require.ErrorContains(t, err, "DATABASE_URL")
	assert.NotContains(t, err.Error(), "secret")
}
