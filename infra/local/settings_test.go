package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func listen(t *testing.T) (net.Listener, int) {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

func TestPortsMustBeDifferentPorts(t *testing.T) {
	t.Parallel()
	require.NoError(t, ports{1, 2, 3, 65535, 4, 5}.Validate())
	err := ports{0, 70000, 7, 7, 8, 9}.Validate()
	require.ErrorContains(t, err, "HOST_PORT=0")
	require.ErrorContains(t, err, "ISSUER_PORT=70000")
	require.ErrorContains(t, err, "PG_PORT and REDIS_PORT are both 7")
}

func TestEverythingInTheWayIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	_, host := listen(t)
	_, pg := listen(t)
	dead := "127.0.0.1:" + strconv.Itoa(freePort(t))
	p := ports{HostPort: host, IssuerPort: freePort(t), PGPort: pg, RedisPort: freePort(t), BusPort: freePort(t), ReceiverPort: freePort(t)}

	err := check(t.Context(), p, given{}, 0)
	require.ErrorContains(t, err, "port "+strconv.Itoa(host)+" is in use")
	require.ErrorContains(t, err, "HOST_PORT")
	require.ErrorContains(t, err, "PG_PORT")
	assert.NotContains(t, err.Error(), "ISSUER_PORT")
	assert.NotContains(t, err.Error(), "REDIS_PORT")

	g := given{
		database: "postgres://me:s3cret@" + dead + "/x", migrations: "postgres://me:s3cret@:no port/x",
		redis: "redis://:s3cret@" + dead, issuer: "http://" + dead,
	}
	err = check(t.Context(), p, g, 0)
	for _, variable := range []string{"HOST_PORT", "DATABASE_URL is set, but", "MIGRATIONS_DATABASE_URL is not a", "REDIS_URL is set, but", "AUTH_ISSUER is set, but"} {
		require.ErrorContains(t, err, variable)
	}
	assert.NotContains(t, err.Error(), "PG_PORT", "a database that is given needs no port")
	assert.NotContains(t, err.Error(), "s3cret")

	err = check(t.Context(), p, given{redis: "s3cret://", database: "x"}, 0)
	require.ErrorContains(t, err, "REDIS_URL: not a Redis URL")
	assert.NotContains(t, err.Error(), "s3cret")
}

func TestWhatIsGivenAndWorksIsFine(t *testing.T) {
	t.Parallel()
	redis := miniredis.RunT(t)
	found := http.StatusOK
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/.well-known/openid-configuration", r.URL.Path)
		w.WriteHeader(found)
	}))
	t.Cleanup(issuer.Close)
	_, taken := listen(t)
	p := ports{HostPort: freePort(t), IssuerPort: taken, PGPort: freePort(t), RedisPort: taken, BusPort: freePort(t), ReceiverPort: freePort(t)}
	g := given{redis: "redis://" + redis.Addr(), issuer: issuer.URL}
	require.NoError(t, check(t.Context(), p, g, 0), "the ports of what is given may be taken")
	found = http.StatusNotFound
	require.ErrorContains(t, check(t.Context(), p, g, 0), "404")
}

func TestPortsOfAKilledStackAreWaitedFor(t *testing.T) {
	t.Parallel()
	l, port := listen(t)
	p := ports{HostPort: port, IssuerPort: freePort(t), PGPort: freePort(t), RedisPort: freePort(t), BusPort: freePort(t), ReceiverPort: freePort(t)}
	checked := make(chan error)
	go func() { checked <- check(t.Context(), p, given{}, time.Minute) }()
	select {
	case err := <-checked:
		require.Fail(t, "it did not wait", "%v", err)
	case <-time.After(100 * time.Millisecond):
	}
	require.NoError(t, l.Close())
	require.NoError(t, <-checked)
}

func TestWhatTheEnvironmentGives(t *testing.T) {
	t.Parallel()
	env := map[string]string{"DATABASE_URL": "a", "REDIS_URL": "b", "AUTH_ISSUER": "http://c/"}
	g, err := givenBy(func(name string) string { return env[name] })
	require.NoError(t, err)
	assert.Equal(t, given{database: "a", migrations: "a", redis: "b", issuer: "http://c"}, g)

	env["MIGRATIONS_DATABASE_URL"] = "d"
	g, err = givenBy(func(name string) string { return env[name] })
	require.NoError(t, err)
	assert.Equal(t, "d", g.migrations)

	delete(env, "DATABASE_URL")
	_, err = givenBy(func(name string) string { return env[name] })
	require.ErrorContains(t, err, "DATABASE_URL is not")
}
