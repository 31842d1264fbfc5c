package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/history"
)

// diskSize is what there is for PostgreSQL's data, in MiB: a cluster with our schema takes about a fourth of it.
const diskSize = 384

// smallDisk makes a file system of its own, in memory. That takes the rights of root.
func smallDisk(t *testing.T, dir string) string {
	t.Helper()
	place := filepath.Join(dir, "disk")
	require.NoError(t, os.Mkdir(place, 0o755))
	out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm,mode=0755", diskSize), "chaos", place).CombinedOutput()
	if err != nil {
		require.Empty(t, os.Getenv("CI"), "a file system of its own can't be mounted: %s", out)
		t.Skipf("NOT PROVEN HERE: without the right to mount a small file system nothing says what a full disk does: %s", out)
	}
	t.Cleanup(func() { // after all processes
		out, err := exec.CommandContext(context.Background(), "umount", place).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	})
	return place
}

// fill takes all room, and what becomes free, with a file until that is thrown off.
func fill(t *testing.T, disk string) (throwOff func() error) {
	t.Helper()
	file, err := os.Create(filepath.Join(disk, "ballast"))
	require.NoError(t, err)
	require.ErrorIs(t, grow(file), syscall.ENOSPC)
	end, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-end:
				tick.Stop()
				done <- errors.Join(file.Close(), os.Remove(file.Name()))
				return
			case <-tick.C:
				_ = grow(file) // no room is what it is for
			}
		}
	}()
	throwOff = sync.OnceValue(func() error {
		close(end)
		return <-done
	})
	t.Cleanup(func() { _ = throwOff() }) // or the disk could not be unmounted
	return throwOff
}

// grow writes until there is no room, by pages at last.
func grow(file *os.File) error {
	for _, size := range []int{1 << 20, 4 << 10} {
		chunk := make([]byte, size)
		for {
			if _, err := file.Write(chunk); err != nil {
				if size == 4<<10 {
					return err
				}
				break
			}
		}
	}
	return nil
}

// probe makes a cart, and notes the ones that were answered 201.
func (sc *scene) probe(made map[string]bool) (*http.Response, time.Duration) {
	sc.t.Helper()
	began := time.Now()
	res, body, err := sc.client.send(sc.t.Context(), sc.client.key(), request{method: http.MethodPost, path: "/api/v1/carts", body: map[string]string{"sessionId": "x"}})
	took := time.Since(began)
	require.NoError(sc.t, err)
	switch res.StatusCode {
	case http.StatusCreated:
		var cart struct{ ID string }
		require.NoError(sc.t, json.Unmarshal(body, &cart))
		made[cart.ID] = true
	case http.StatusServiceUnavailable:
		assert.NotEmpty(sc.t, res.Header.Get("Retry-After"), "%s", body)
	default:
		assert.Fail(sc.t, "an answer that is none of the two", "%d %s", res.StatusCode, body)
	}
	return res, took
}

// The disk under PostgreSQL is full: first its tables can't grow, and statements fail; then its log can't, and the server
// ends. Writes are refused and say when to come back, what is cached goes on, and with room again all is as before: what was
// answered is there, and nothing else.
func TestADiskThatIsFull(t *testing.T) {
	s := open(t, options{data: smallDisk})
	sc := busy(t, s)
	time.Sleep(3 * time.Second) // the usual
	cached := sc.cached()
	made := map[string]bool{}
	res, _ := sc.probe(made)
	require.Equal(t, http.StatusCreated, res.StatusCode)

	full := sc.log.Now()
	throwOff := fill(t, s.data)
	refused, slowest := 0, time.Duration(0)
	once := func() {
		t.Helper()
		res, took := sc.probe(made)
		if res.StatusCode == http.StatusServiceUnavailable {
			refused, slowest = refused+1, max(slowest, took)
		}
		cached()
	}
	for began := time.Now(); refused == 0; once() { // the pages that the tables have already take some more
		require.Less(t, time.Since(began), time.Minute, "there was room after all, for %d carts", len(made))
	}
	watch := func(d time.Duration) {
		t.Helper()
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // a client's pace
			once()
		}
	}
	watch(away(t) / 2)
	said := s.useUpLog(t)
	watch(away(t) / 2)
	ended := false
	select {
	case <-s.postgres.Done():
		ended = true
	default:
	}
	res, _ = sc.probe(made)
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)

	require.NoError(t, throwOff())
	room := sc.log.Now()
	s.revive(t)
	back := sc.log.Now()
	time.Sleep(6 * time.Second) // and after
	h := sc.end(s.truth)
	var carts []string
	for id := range made {
		carts = append(carts, id)
	}
	db, err := s.database(t.Context())
	require.NoError(t, err)
	defer db.Close(t.Context()) //nolint:errcheck // has answered
	var there int
	require.NoError(t, db.QueryRow(t.Context(), `SELECT count(*) FROM carts WHERE id = ANY($1)`, carts).Scan(&there))
	assert.Len(t, made, there, "each 201 has its row")
	first, placed := time.Duration(0), 0
	for _, a := range h.Attempts {
		if a.Op != history.Place || a.Status != http.StatusCreated {
			continue
		}
		if a.Begin > full && a.End < room {
			placed++
		}
		if a.End > room && (first == 0 || a.End < first) {
			first = a.End
		}
	}
	require.NotZero(t, first, "no order was placed after there was room")
	assert.Less(t, first-back, 30*time.Second)
	t.Logf("the disk was full for %s, in which %d orders still found room; %d writes of ours were refused, the slowest after %s; "+
		"the log's end: %s; the server had ended: %v; it was back %s after there was room, and the first order was placed %s after that",
		(room - full).Round(time.Second), placed, refused, slowest.Round(time.Millisecond), said, ended,
		(back - room).Round(time.Millisecond), max(0, first-back).Round(time.Millisecond))
}

// useUpLog has the server begin new files of its log until there is no room for one. It says how that ended.
func (s *stack) useUpLog(t *testing.T) string {
	t.Helper()
	admin, err := s.superuser(t.Context())
	if err != nil {
		return "it had ended already: " + err.Error()
	}
	defer admin.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // the server is ending
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range 100 { // more files than the disk can hold
		if _, err = admin.Exec(ctx, `SELECT pg_create_restore_point('x'), pg_switch_wal()`, pgx.QueryExecModeSimpleProtocol); err != nil && postgres.Code(err) == "" {
			return err.Error() // the connection is gone
		}
	}
	require.Fail(t, "the log found room for a hundred files", "%v", err)
	return ""
}

// revive starts the server where it has ended, and waits until it answers.
func (s *stack) revive(t *testing.T) {
	t.Helper()
	for give := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // between two looks
		select {
		case <-s.postgres.Done():
			s.startPostgres()
		default:
		}
		db, err := s.database(t.Context())
		if err == nil {
			require.NoError(t, db.Close(t.Context()))
			return
		}
		require.True(t, time.Now().Before(give), "PostgreSQL does not come back: %v", err)
	}
}
