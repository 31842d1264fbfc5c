package pgserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
)

func start(t *testing.T, dir string) *Server {
	t.Helper()
	return startWith(t, dir, FastSettings)
}

func startWith(t *testing.T, dir string, settings map[string]string) *Server {
	t.Helper()
	s, err := Start(t.Context(), Options{Dir: dir, Port: freePort(t), Settings: settings, Statistics: true, Log: func(s string) { t.Log(s) }})
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	return s
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := child.FreePort()
	require.NoError(t, err)
	return port
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// newDir is a folder whose cluster is gone after the test, also where root's data had to go elsewhere.
func newDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "postgres")
	t.Cleanup(func() { require.NoError(t, Wipe(dir)) })
	return dir
}

func one[T any](t *testing.T, conn *pgx.Conn, sql string) (value T) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&value))
	return value
}

func TestAClusterHasItsRolesAndKeepsItsData(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := startWith(t, dir, DurableSettings)

	owner := connect(t, s.URL(Owner, Database))
	_, err := owner.Exec(t.Context(), "CREATE TABLE things (n int); INSERT INTO things VALUES (1)")
	require.NoError(t, err)

	app := connect(t, s.URL(App, Database))
	_, err = app.Exec(t.Context(), "INSERT INTO things VALUES (2)")
	require.NoError(t, err, "the app role writes what the owner made")
	_, err = app.Exec(t.Context(), "DROP TABLE things")
	require.ErrorContains(t, err, "must be owner")
	_, err = app.Exec(t.Context(), "CREATE TABLE mine ()")
	require.ErrorContains(t, err, "permission denied")
	for setting, want := range map[string]string{"statement_timeout": "5s", "lock_timeout": "2s", "idle_in_transaction_session_timeout": "10s", "jit": "off"} {
		assert.Equal(t, want, one[string](t, app, "SHOW "+setting))
	}
	assert.Equal(t, "UTF8", one[string](t, app, "SHOW server_encoding"))
	assert.Equal(t, "127.0.0.1", one[string](t, app, "SHOW listen_addresses"))
	if s.counts {
		assert.Positive(t, one[int](t, owner, "SELECT count(*) FROM pg_stat_statements"))
	}
	err = dropStaleLock(t.Context(), s.dir, 0)
	require.ErrorContains(t, err, "already runs on "+s.dir, "a second server on one cluster")

	s.Kill()
	again := startWith(t, dir, DurableSettings)
	assert.Equal(t, 2, one[int](t, connect(t, again.URL(App, Database)), "SELECT count(*) FROM things"), "a crash keeps what was committed")
}

func TestOnlyTheSuperuserNeedsAPassword(t *testing.T) {
	t.Parallel()
	s := start(t, newDir(t))
	admin := connect(t, s.SuperuserURL())
	assert.Equal(t, "on", one[string](t, admin, "SELECT current_setting('is_superuser')"))

	_, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres", s.port))
	require.ErrorContains(t, err, "password")
	assert.Equal(t, "off", one[string](t, connect(t, s.URL(Owner, Database)), "SELECT current_setting('is_superuser')"))
}

func TestAStaleLockIsNoObstacle(t *testing.T) {
	t.Parallel()
	for name, pid := range map[string]int{"a dead process": 1 << 30, "somebody else's": os.Getpid()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newDir(t)
			s := start(t, dir)
			s.Kill()
			lock := strconv.Itoa(pid) + "\n" + s.dir + "\n1700000000\n" + strconv.Itoa(s.port) + "\n\n127.0.0.1\n"
			require.NoError(t, os.WriteFile(filepath.Join(s.dir, "postmaster.pid"), []byte(lock), 0o600))
			again := start(t, dir)
			assert.NotEqual(t, s.PID(), again.PID())
		})
	}
}

func TestAnInterruptedInitIsStartedOver(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	place, err := reachable(dir, must(t, unprivileged), func(string) {})
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(place+".new", "base"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(place+".new", "PG_VERSION"), []byte("15\n"), 0o600))
	s := start(t, dir)
	assert.Equal(t, 1, one[int](t, connect(t, s.URL(App, Database)), "SELECT 1"))
	assert.NoDirExists(t, place+".new")
}

func TestAPortInUseIsSaidWithTheServersOwnWords(t *testing.T) {
	t.Parallel()
	other := start(t, newDir(t))
	_, err := Start(t.Context(), Options{Dir: newDir(t), Port: other.port, Settings: FastSettings, Log: func(string) {}})
	require.ErrorContains(t, err, "Address already in use")
}

func TestAClusterOfAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, dir)
	s.Stop()
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "PG_VERSION"), []byte("12\n"), 0o600))
	_, err := Start(t.Context(), Options{Dir: dir, Port: s.port, Log: func(string) {}})
	require.ErrorContains(t, err, "was made by PostgreSQL 12")
	require.ErrorContains(t, err, "make reset")
}

func TestAClusterThatIsNotOursIsRefused(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, dir)
	s.Stop()
	require.NoError(t, os.Remove(filepath.Join(s.dir, passwordFile)))
	_, err := Start(t.Context(), Options{Dir: dir, Port: s.port, Log: func(string) {}})
	require.ErrorContains(t, err, "not made by this stack")
}

func TestWipeLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, dir)
	s.Stop()
	require.NoError(t, Wipe(dir))
	assert.NoFileExists(t, s.dir)
	assert.NoFileExists(t, s.log)
	require.NoError(t, Wipe(dir), "twice is once")
}

func must[T any](t *testing.T, f func() (T, error)) T {
	t.Helper()
	v, err := f()
	require.NoError(t, err)
	return v
}

func TestDataGoesWhereItsUserCanEnter(t *testing.T) {
	t.Parallel()
	private := filepath.Join(t.TempDir(), "private")
	require.NoError(t, os.Mkdir(private, 0o700))
	stranger := account{uid: 54321, gid: 54321, other: true}
	assert.False(t, stranger.enters(private))
	assert.True(t, stranger.enters("/"))
	assert.True(t, account{uid: uint32(os.Getuid()), gid: uint32(os.Getgid()), other: true}.enters("/tmp"))

	var said []string
	dir := filepath.Join(private, "postgres")
	place, err := reachable(dir, stranger, func(s string) { said = append(said, s) })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(filepath.Dir(place))) })
	assert.NotContains(t, place, private)
	assert.True(t, stranger.enters(filepath.Dir(place)))
	require.Len(t, said, 1)
	assert.Contains(t, said[0], filepath.Dir(place), "it says where the data went")

	other, err := reachable(filepath.Join(private, "clone", "postgres"), stranger, func(string) {})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(filepath.Dir(other))) })
	assert.NotEqual(t, place, other, "two checkouts share nothing")

	mine, err := reachable(dir, account{}, func(string) {})
	require.NoError(t, err)
	assert.Equal(t, dir, mine, "who runs it as himself keeps it")
}

// fakeServer makes a folder that looks like one of PostgreSQL's.
func fakeServer(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
	for _, name := range []string{"postgres", "initdb"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700))
	}
	return dir
}

func TestTheNewestServerOfAnOldEnoughVersionIsTaken(t *testing.T) {
	t.Parallel()
	old, good, best, beta := fakeServer(t, "14.9"), fakeServer(t, "15.1 (Debian 15.1-1)"), fakeServer(t, "17.2"), fakeServer(t, "16beta1")
	clientOnly := fakeServer(t, "18.0")
	require.NoError(t, os.Remove(filepath.Join(clientOnly, "initdb")))
	assert.Equal(t, best, newest(t.Context(), []string{old, good, beta, best, clientOnly, "/nowhere"}))
	assert.Empty(t, newest(t.Context(), []string{old, clientOnly}))
}

func TestPGBIN(t *testing.T) {
	dir := fakeServer(t, "16.1")
	t.Setenv("PG_BIN", dir)
	found, err := find(t.Context(), account{}, func(string) {})
	require.NoError(t, err)
	assert.Equal(t, dir, found)

	t.Setenv("PG_BIN", fakeServer(t, "9.6.24"))
	_, err = find(t.Context(), account{}, func(string) {})
	require.ErrorContains(t, err, "version 15 or later")
}

// TestMain runs helpers: a stack that is killed can't be this process.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PGSERVER_TEST_STACK"); dir != "" {
		port, err := strconv.Atoi(os.Getenv("PGSERVER_TEST_PORT"))
		if err == nil {
			var s *Server
			if s, err = Start(context.Background(), Options{Dir: dir, Port: port, Settings: FastSettings, Log: func(string) {}}); err == nil {
				fmt.Println("running", s.PID())
				select {}
			}
		}
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestAServerDiesWithItsStackAndTheNextStartsAtOnce(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("only Linux ends a child with its parent")
	}
	dir := newDir(t)
	port := freePort(t)
	stack := exec.CommandContext(t.Context(), os.Args[0])
	stack.Env = append(os.Environ(), "PGSERVER_TEST_STACK="+dir, "PGSERVER_TEST_PORT="+strconv.Itoa(port))
	out, err := stack.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, stack.Start())
	line := make([]byte, 100)
	n, err := out.Read(line)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(string(line[:n]), "running ")))
	require.NoError(t, err, "%s", line[:n])
	require.True(t, isPostgres(t.Context(), pid))

	require.NoError(t, stack.Process.Kill())
	_ = stack.Wait()
	s := start(t, dir) // waits for the orphan's end itself
	assert.NotEqual(t, pid, s.PID())
	require.Eventually(t, func() bool { return !isPostgres(t.Context(), pid) }, 10*time.Second, 20*time.Millisecond)
}
