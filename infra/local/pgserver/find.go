package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	embedded "github.com/fergusstrange/embedded-postgres"

	"github.com/company/order-catalog-service/infra/local/child"
)

// oldest is the first major version that has all we use.
const oldest = 15

// find returns the folder of PostgreSQL's server binaries: PG_BIN, PATH, the usual places of distributions; else
// it installs them by the system's package manager where that needs no password; else it downloads them.
func find(ctx context.Context, user account, log func(string)) (string, error) {
	if dir := os.Getenv("PG_BIN"); dir != "" {
		if version(ctx, dir) >= oldest {
			return dir, nil
		}
		return "", fmt.Errorf("PG_BIN=%s holds no PostgreSQL server of version %d or later (postgres and initdb)", dir, oldest)
	}
	if dir := installed(ctx); dir != "" {
		return dir, nil
	}
	if err := install(ctx, log); err != nil {
		log("no package manager could install PostgreSQL: " + err.Error())
	} else if dir := installed(ctx); dir != "" {
		return dir, nil
	}
	dir, err := download(ctx, user, log)
	if err != nil {
		return "", fmt.Errorf("no PostgreSQL %d or later here and none could be had (%w): install it, name its folder in PG_BIN, or set DATABASE_URL", oldest, err)
	}
	return dir, nil
}

// installed is the newest version on the machine, "" when there is none.
func installed(ctx context.Context) string {
	var candidates []string
	if path, err := exec.LookPath("postgres"); err == nil {
		// A link on PATH may stand alone: the other programs are where it leads.
		if path, err = filepath.EvalSymlinks(path); err == nil {
			candidates = append(candidates, filepath.Dir(path))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*",
		"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
	} {
		found, _ := filepath.Glob(pattern) // the patterns are well formed
		candidates = append(candidates, found...)
	}
	return newest(ctx, candidates)
}

func newest(ctx context.Context, candidates []string) string {
	best, at := oldest-1, ""
	for _, dir := range candidates {
		if v := version(ctx, dir); v > best {
			best, at = v, dir
		}
	}
	return at
}

var majorVersion = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// version is the major version of the server in dir, 0 when there is none or it lacks initdb.
func version(ctx context.Context, dir string) int {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil { //nolint:gosec // a folder the developer named
		return 0
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output() //nolint:gosec // a server found by us
	if err != nil {
		return 0
	}
	m := majorVersion.FindSubmatch(out)
	if m == nil {
		return 0
	}
	v, _ := strconv.Atoi(string(m[1])) // digits, by the pattern
	return v
}

// manager is a package manager and the commands that make it install a server.
type manager struct {
	name   string
	asRoot bool
	steps  [][]string
}

func managers() []manager {
	return []manager{
		{"apt-get", true, [][]string{
			{"apt-get", "update", "-q"},
			{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-q", "--no-install-recommends", "postgresql"},
		}},
		{"dnf", true, [][]string{{"dnf", "install", "-y", "-q", "postgresql-server", "postgresql-contrib"}}},
		{"apk", true, [][]string{{"apk", "add", "postgresql", "postgresql-contrib"}}},
		{"brew", false, [][]string{{"brew", "install", "postgresql@17"}}},
	}
}

// install asks the package managers that can work without a password.
func install(ctx context.Context, log func(string)) error {
	var failed []error
	for _, m := range managers() {
		if _, err := exec.LookPath(m.name); err != nil {
			continue
		}
		prefix, err := privilege(ctx, m)
		if err == nil {
			for _, step := range m.steps {
				command := slices.Concat(prefix, step)
				log("installing PostgreSQL: " + strings.Join(command, " "))
				if err = runQuietly(ctx, command); err != nil {
					break
				}
			}
		}
		if err == nil {
			return nil
		}
		failed = append(failed, err)
	}
	if len(failed) == 0 {
		return errors.New("there is none of apt-get, dnf, apk, brew")
	}
	return errors.Join(failed...)
}

// privilege is what to put before a command of the manager so that it may do its work.
func privilege(ctx context.Context, m manager) (prefix []string, err error) {
	root := os.Geteuid() == 0
	switch {
	case m.asRoot == root:
		return nil, nil
	case root:
		return nil, fmt.Errorf("%s refuses root", m.name)
	case exec.CommandContext(ctx, "sudo", "-n", "true").Run() != nil:
		return nil, fmt.Errorf("%s needs root, and sudo asks for a password", m.name)
	}
	return []string{"sudo", "-n"}, nil
}

func runQuietly(ctx context.Context, command []string) error {
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput() //nolint:gosec // from managers
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// download lets embedded-postgres fetch and unpack a release from Maven Central, and uses its binaries.
func download(ctx context.Context, user account, log func(string)) (string, error) {
	cache, err := os.UserCacheDir()
	if user.other { // who runs the server can't enter root's own
		cache, err = otherPlaces()[0], nil
	}
	if err != nil {
		return "", fmt.Errorf("finding a folder for the download: %w", err)
	}
	dir := filepath.Join(cache, "order-catalog-postgres")
	bin := filepath.Join(dir, "bin")
	if version(ctx, bin) >= oldest {
		return bin, nil
	}
	log("downloading PostgreSQL to " + dir)
	port, err := child.FreePort()
	if err != nil {
		return "", err
	}
	// The library has no "fetch only". Starting unpacks the binaries before anything else; what comes after that
	// is thrown away, and fails for root.
	once, err := os.MkdirTemp("", "order-catalog-")
	if err != nil {
		return "", fmt.Errorf("making a folder for the download: %w", err)
	}
	defer func() { _ = os.RemoveAll(once) }()
	server := embedded.NewDatabase(embedded.DefaultConfig().BinariesPath(dir).CachePath(filepath.Join(dir, "download")).
		RuntimePath(filepath.Join(once, "run")).Port(uint32(port)).Logger(io.Discard)) //nolint:gosec // a port has 16 bits
	err = server.Start()
	if err == nil {
		err = server.Stop()
	}
	if version(ctx, bin) >= oldest {
		return bin, nil
	}
	return "", fmt.Errorf("unpacking it left no server: %w", err)
}
