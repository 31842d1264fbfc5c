package webhooks_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/webhooks"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/secretbox"
	"github.com/company/order-catalog-service/tests/kit"
)

// vaultOf is a database with n endpoints, some of them with a former secret too, sealed as the kit's box does, and the
// box that has the next secret in front of it.
func vaultOf(t *testing.T, n int) (s *shop, next *secretbox.Box, admin string) {
	t.Helper()
	s = open(t, webhooks.Limits{})
	admin = s.Token(t, "boss", manage, "admin")
	for i := range n {
		got := s.Do(t, kit.Call{
			Method: http.MethodPost, Path: "/api/v1/webhooks/register", Token: admin, Key: fmt.Sprint("register-", i),
			Body: map[string]any{"url": "https://example.com", "events": []string{"*"}},
		})
		require.Equal(t, http.StatusCreated, got.Status, "%s", got.Body)
		if i%3 == 0 {
			got = s.Do(t, kit.Call{Method: http.MethodPost, Path: got.Header.Get("Location") + "/rotate-secret", Token: admin, Key: fmt.Sprint("rotate-", i), Body: map[string]any{}})
			require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
		}
	}
	return s, nextBox(t, "webhook endpoints"), admin
}

const nextSecret = "the next secret of every box"

func nextBox(t *testing.T, purpose string) *secretbox.Box {
	t.Helper()
	box, err := secretbox.New(purpose, []byte(nextSecret), []byte(kit.BoxesOpenWith))
	require.NoError(t, err)
	return box
}

// opened is every secret in the clear, by endpoint: what must be the same afterwards.
func opened(t *testing.T, s *shop, box *secretbox.Box) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := s.Pools.Orders.Do(t.Context(), func(conn *pgx.Conn) error {
		rows, err := conn.Query(t.Context(), `SELECT id, secret, previous_secret FROM webhook_endpoints WHERE secret IS NOT NULL`)
		if err != nil {
			return err
		}
		var (
			id           uuid.UUID
			now, earlier []byte
		)
		_, err = pgx.ForEachRow(rows, []any{&id, &now, &earlier}, func() error {
			for name, sealed := range map[string][]byte{"now": now, "earlier": earlier} {
				if sealed == nil {
					continue
				}
				plain, err := box.Open(sealed, id[:])
				if err != nil {
					return err
				}
				all[id.String()+name] = string(plain)
			}
			return nil
		})
		return err
	})
	require.NoError(t, err)
	return all
}

func rekey(s *shop, box *secretbox.Box, batch int) *webhooks.Rekey {
	return &webhooks.Rekey{Pool: s.Pools.Background, Box: box, Who: auth.Identity{Issuer: "command", Subject: "operator"}, Batch: batch}
}

// Afterwards everything opens with the next secret alone and is what it was; it is told as it goes, and by the log.
func TestRekeySealsEverythingAnew(t *testing.T) {
	t.Parallel()
	s, next, _ := vaultOf(t, 7)
	before := opened(t, s, s.Box)
	r := rekey(s, next, 3)
	left, err := r.Left(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 7, left)
	var told []int
	require.NoError(t, r.Run(t.Context(), func(done int) { told = append(told, done) }))
	assert.Equal(t, []int{3, 6, 7}, told)
	left, err = r.Left(t.Context())
	require.NoError(t, err)
	assert.Zero(t, left)
	assert.Empty(t, r.Lost)
	alone, err := secretbox.New("webhook endpoints", []byte(nextSecret))
	require.NoError(t, err)
	assert.Equal(t, before, opened(t, s, alone))
	assert.Equal(t, []string{"command operator webhook_endpoints 3", "command operator webhook_endpoints 3", "command operator webhook_endpoints 1"},
		kit.One[[]string](t, s.Database, `SELECT array_agg(concat_ws(' ', issuer, subject, target, details->>'count') ORDER BY at) FROM audit_log WHERE action = 'keys.rotated'`))

	told = nil
	require.NoError(t, r.Run(t.Context(), func(done int) { told = append(told, done) }))
	assert.Empty(t, told, "a second run has nothing to do")
}

// Stopped in the middle, the next run does what is left and touches nothing else.
func TestRekeyGoesOnWhereItWasStopped(t *testing.T) {
	t.Parallel()
	s, next, _ := vaultOf(t, 7)
	before := opened(t, s, s.Box)
	s.Exec(t, `CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF (SELECT count(*) FROM audit_log WHERE action = 'keys.rotated') >= 2 THEN RAISE EXCEPTION 'killed'; END IF; RETURN NEW; END $$;
		CREATE TRIGGER stop BEFORE UPDATE ON webhook_endpoints FOR EACH ROW EXECUTE FUNCTION stop()`)
	r := rekey(s, next, 2)
	require.ErrorContains(t, r.Run(t.Context(), func(int) {}), "killed")
	left, err := r.Left(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 3, left)
	assert.Equal(t, before, opened(t, s, next), "half done, everything opens")
	s.Exec(t, `DROP TRIGGER stop ON webhook_endpoints`)
	var told []int
	require.NoError(t, r.Run(t.Context(), func(done int) { told = append(told, done) }))
	assert.Equal(t, []int{2, 3}, told)
	assert.Equal(t, before, opened(t, s, next))
}

// Two runs at once, while owners rotate their secrets through a process that doesn't know the next one yet: whatever an
// owner was told last is what deliveries are signed with.
func TestRekeyBesideWriters(t *testing.T) {
	t.Parallel()
	s, next, admin := vaultOf(t, 12)
	ids := kit.One[[]string](t, s.Database, `SELECT array_agg(id::text) FROM webhook_endpoints`)
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		told = make(map[string]string)
	)
	for i, id := range ids {
		all.Go(func() {
			for n := range 4 {
				got := s.Do(t, kit.Call{Method: http.MethodPost, Path: "/api/v1/webhooks/" + id + "/rotate-secret", Token: admin, Key: fmt.Sprint("again-", i, "-", n), Body: map[string]any{}})
				if assert.Equal(t, http.StatusOK, got.Status, "%s", got.Body) {
					mu.Lock()
					told[id+"now"] = got.JSON(t)["secret"].(string)
					mu.Unlock()
				}
			}
		})
	}
	for range 2 {
		all.Go(func() {
			r := rekey(s, next, 2)
			for range 3 {
				assert.NoError(t, r.Run(t.Context(), func(int) {}))
			}
			assert.Empty(t, r.Lost)
		})
	}
	all.Wait()
	require.NoError(t, rekey(s, next, 5).Run(t.Context(), func(int) {}))
	left, err := rekey(s, next, 5).Left(t.Context())
	require.NoError(t, err)
	assert.Zero(t, left)
	after := opened(t, s, next)
	for id, secret := range told {
		assert.Equal(t, secret, after[id])
	}
}

// What no key opens is named and left as it is, and holds nothing else up.
func TestRekeyNamesWhatIsLost(t *testing.T) {
	t.Parallel()
	s, next, _ := vaultOf(t, 5)
	lost := kit.One[uuid.UUID](t, s.Database, `SELECT id FROM webhook_endpoints ORDER BY id OFFSET 1 LIMIT 1`)
	s.Exec(t, `UPDATE webhook_endpoints SET secret = '\x02ffffffffffffffff00' WHERE id = $1`, lost)
	r := rekey(s, next, 2)
	require.NoError(t, r.Run(t.Context(), func(int) {}))
	assert.Equal(t, []uuid.UUID{lost}, r.Lost)
	left, err := r.Left(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, left)
	assert.Equal(t, "\\x02ffffffffffffffff00", kit.One[string](t, s.Database, `SELECT secret::text FROM webhook_endpoints WHERE id = $1`, lost))
}

// Stored answers with a secret go the same way: a repeat of the request gets the same bytes after it.
func TestStoredAnswersAreSealedAnew(t *testing.T) {
	t.Parallel()
	s, _, admin := vaultOf(t, 4)
	call := kit.Call{
		Method: http.MethodPost, Path: "/api/v1/webhooks/register", Token: admin, Key: "register-1",
		Body: map[string]any{"url": "https://example.com", "events": []string{"*"}},
	}
	before := s.Do(t, call)
	require.Equal(t, http.StatusCreated, before.Status)
	others := kit.One[string](t, s.Database, `SELECT md5(COALESCE(string_agg(body::text, '' ORDER BY digest), '')) FROM idempotency_keys WHERE substr(body, 1, 1) NOT IN ('\x01', '\x02')`)
	answers := nextBox(t, "stored answers")
	var written, parts int
	run := func() (done, lost int) {
		done, lost, err := idempotency.Rekey(t.Context(), s.Pools.Background, answers,
			func(_ context.Context, _ pgx.Tx, n int) error { written += n; return nil }, func(_, of, _ int) { parts = of })
		require.NoError(t, err)
		return done, lost
	}
	done, lost := run()
	assert.Equal(t, 6, done, "four registrations and two rotations")
	assert.Equal(t, 6, written)
	assert.Zero(t, lost)
	assert.Equal(t, 1, parts)
	assert.Equal(t, 6, kit.One[int](t, s.Database, `SELECT count(*) FROM idempotency_keys WHERE substr(body, 1, 9) = $1`, answers.Prefix()))
	assert.Equal(t, others, kit.One[string](t, s.Database, `SELECT md5(COALESCE(string_agg(body::text, '' ORDER BY digest), '')) FROM idempotency_keys WHERE substr(body, 1, 1) NOT IN ('\x01', '\x02')`))
	require.NoError(t, s.Answers.Use([]byte(nextSecret)))
	after := s.Do(t, call)
	assert.Equal(t, before.Body, after.Body)
	assert.Equal(t, "true", after.Header.Get("Idempotent-Replayed"))
	done, _ = run()
	assert.Zero(t, done)

	// A big table is gone through in parts that miss nothing and read nothing twice.
	s.Exec(t, `INSERT INTO idempotency_keys (digest, fingerprint, status, header, body)
		SELECT sha256(i::text::bytea), sha256(''), 200, '{}', CASE WHEN i % 2 = 0 THEN '{}'::bytea ELSE ''::bytea END FROM generate_series(1, 25000) i`)
	s.Exec(t, `ANALYZE idempotency_keys`)
	require.NoError(t, answers.Use([]byte("a third secret for all boxes"), []byte(nextSecret)))
	done, lost = run()
	assert.Equal(t, 6, done)
	assert.Zero(t, lost)
	assert.Equal(t, 4, parts)
}
