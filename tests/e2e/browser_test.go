package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit"
)

// browser is a tab of a real browser.
type browser struct {
	ctx context.Context
	t   *testing.T
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" && os.Getenv("CI") == "" {
		t.Skip("there is no Chromium on this machine; CI may not go without")
	}
	require.NotEmpty(t, path, "CI needs Chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.Flag("no-sandbox", true), chromedp.Flag("disable-gpu", true))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx), "starting the browser") // it lives as long as the context of its first step
	return &browser{ctx: ctx, t: t}
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, steps...))
}

func (b *browser) text(script string) string {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+script+")"))
	require.NoError(b.t, err, script)
	return got
}

// until waits for a condition on the page. It asks from outside: the page lets nobody run scripts that it did not bring.
func (b *browser) until(script, says string) {
	b.t.Helper()
	for end := time.Now().Add(30 * time.Second); b.text(script) != "true"; time.Sleep(50 * time.Millisecond) {
		require.True(b.t, time.Now().Before(end), says)
	}
}

// button presses the button of an accessible name, by keyboard.
func (b *browser) button(name string) {
	b.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll('button')].find(e => (e.getAttribute('aria-label') || e.textContent) === %q && e.offsetParent !== null)`, name)
	b.until("!!"+find, "there is a button "+name)
	b.text(`(` + find + `.focus(), '')`)
	b.do(chromedp.KeyEvent("\r"))
}

// picture keeps what the page looks like, for who wants to see (go test -artifacts).
func (b *browser) picture(name string) {
	b.t.Helper()
	raw, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(b.t.ArtifactDir(), name+".png"), raw, 0o600))
}

func (b *browser) scheme(value string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}})
		return err
	})
}

// An operator sees what goes on, finds a dead delivery and replays it, sends a dead letter again, and turns a switch: with
// the keyboard alone, asked each time before anything happens, on a page that loads nothing from elsewhere.
func TestAnOperatorWorksWithThePage(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	w := newWorld(t)
	s := w.start(t, w.AppURL, host.Limits{})
	receiver := newCustomer(t)
	admin := w.shopToken(t)
	receiver.register(t, readContract(t, s), admin)
	product, customer := w.Product(t, 10).String(), w.token(t, "ada")
	read := call{method: http.MethodGet, path: "/api/v1/products/" + product, token: customer}
	status := func() int {
		got, err := s.send(t.Context(), read)
		require.NoError(t, err)
		return got.status
	}
	placed, err := s.send(t.Context(), call{method: http.MethodPost, path: "/api/v1/orders", token: customer, key: uuid.NewString(), body: draft("ada", map[string]int{product: 1})})
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, placed.status, "%s", placed.body)
	id := receiver.next(t, 20*time.Second).header.Get("Webhook-Id")
	require.Eventually(t, func() bool {
		return kit.One[bool](t, w.Database, `SELECT EXISTS (SELECT FROM webhook_deliveries WHERE status = 'succeeded')`)
	}, 10*time.Second, 20*time.Millisecond)
	w.Exec(t, `UPDATE webhook_deliveries SET status = 'dead', reason = 'given up after ten attempts'`)
	w.Exec(t, `INSERT INTO dead_letters (id, entity, sequence_number, message_id, subject, content_type, body, properties, reason, description, delivery_count)
		VALUES ($1, 'webhook-deliveries', 1, 'letter-1', 'webhook.wake_up', 'application/json', '{"eventId":"00000000-0000-0000-0000-000000000000","endpointId":"00000000-0000-0000-0000-000000000001"}', '{}', 'MaxDeliveryCountExceeded', '<b>not</b> markup', 1000)`, uuid.Must(uuid.NewV7()))

	w.Exec(t, `INSERT INTO dead_letters (id, entity, sequence_number, message_id, body, reason, delivery_count)
		VALUES ($1, 'order-requests', 2, 'letter-2', 'this is no order', 'unreadable', 1)`, uuid.Must(uuid.NewV7()))

	b.do(b.scheme("light"), chromedp.EmulateViewport(1280, 900), chromedp.Navigate("http://"+s.Addr()+"/ops"))
	b.until(`location.pathname === '/ops/'`, "the page has one address")
	b.picture("enter")
	b.do(chromedp.SendKeys("#token", strings.TrimSpace(customer)+"\r"))
	b.until(`document.getElementById('said').textContent !== ''`, "a customer is told why not")
	b.until(`document.getElementById('main').hidden`, "and sees nothing")
	b.do(chromedp.SendKeys("#token", admin+"\r"))
	b.until(`document.querySelectorAll('#tiles div').length > 10 && document.querySelectorAll('#charts figure').length === 4`, "the figures come")
	for range 3 { // something to draw
		_, err = s.send(t.Context(), call{method: http.MethodPost, path: "/api/v1/orders", token: customer, key: uuid.NewString(), body: draft("ada", map[string]int{product: 1})})
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, status())
		receiver.next(t, 20*time.Second)
	}
	b.until(`/Orders a second: orders now [0-9.]+, at most 0*[1-9.]/.test(document.querySelector('#chart-orders svg').getAttribute('aria-label')) || /at most [0-9.]*[1-9]/.test(document.querySelector('#chart-orders svg').getAttribute('aria-label'))`, "orders are drawn, and said in words")

	// A dead delivery.
	b.do(chromedp.SetValue("#delivery-status", "dead"))
	b.button("Search")
	b.until(`document.querySelectorAll('#delivery-rows tr').length === 1 && document.querySelector('#delivery-rows').textContent.includes('given up')`, "the dead delivery is found")
	b.button("Show the attempts of event " + id)
	b.until(`document.getElementById('attempts').textContent.includes('204')`, "its attempt is shown")
	b.picture("light")
	b.button("Replay event " + id)
	b.until(`document.getElementById('ask').open`, "it asks first")
	b.do(chromedp.KeyEvent("\r")) // the focus is on No
	b.until(`!document.getElementById('ask').open`, "no is an answer")
	select {
	case <-receiver.heard:
		t.Fatal("delivered although the operator said no")
	case <-time.After(300 * time.Millisecond):
	}
	b.button("Replay event " + id)
	b.button("Replay")
	assert.Equal(t, id, receiver.next(t, 20*time.Second).header.Get("Webhook-Id"), "the same event again")
	b.until(`document.querySelector('#delivery-rows').textContent.includes('There are none')`, "it is not dead any more")

	// A dead letter, in which somebody wrote markup.
	assert.Equal(t, "0", b.text(`document.querySelectorAll('#letter-rows b').length`), "shown as text")
	b.button("Discard message letter-2")
	b.until(`document.getElementById('ask').open && !document.getElementById('ask-why').hidden`, "it asks why")
	b.picture("discard")
	b.button("Discard")
	assert.Equal(t, "true", b.text(`document.getElementById('ask').open`), "without a reason nothing is discarded")
	b.do(chromedp.SendKeys("#ask-reason", "nobody can read it"))
	b.button("Discard")
	b.until(`document.querySelectorAll('#letter-rows tr').length === 1 && !document.querySelector('#letter-rows').textContent.includes('letter-2')`, "it was discarded")
	assert.Equal(t, "nobody can read it", kit.One[string](t, w.Database, `SELECT details ->> 'reason' FROM audit_log WHERE action = 'dead_letter.discarded'`))
	b.button("Send message letter-1 again")
	assert.Equal(t, "true", b.text(`document.getElementById('ask-why').hidden`), "sending needs no reason")
	b.button("Send again")
	b.until(`document.querySelector('#letter-rows').textContent.includes('There are none')`, "it was sent")
	assert.True(t, kit.One[bool](t, w.Database, `SELECT redriven_at IS NOT NULL FROM dead_letters WHERE message_id = 'letter-1'`))

	// A switch.
	assert.Equal(t, http.StatusOK, status())
	b.button("Switch shed-browse on")
	b.button("Switch on")
	b.until(`document.getElementById('switch-list').textContent.includes('shed-browse is ON, by shop')`, "who did it is shown")
	assert.Equal(t, http.StatusServiceUnavailable, status(), "readers are refused")
	ordered, err := s.send(t.Context(), call{method: http.MethodPost, path: "/api/v1/orders", token: customer, key: uuid.NewString(), body: draft("ada", map[string]int{product: 1})})
	require.NoError(t, err)
	assert.Equal(t, http.StatusCreated, ordered.status, "orders go on")
	b.button("Switch shed-browse off")
	b.button("Switch off")
	b.until(`document.getElementById('switch-list').textContent.includes('shed-browse is off')`, "it is off again")
	assert.Equal(t, http.StatusOK, status())
	b.button("Switch async-orders on")
	b.button("Switch on")
	b.until(`document.getElementById('switch-list').textContent.includes('async-orders is ON')`, "the other one")
	queued, err := s.send(t.Context(), call{method: http.MethodPost, path: "/api/v1/orders", token: customer, key: uuid.NewString(), body: draft("ada", map[string]int{product: 1})})
	require.NoError(t, err)
	assert.Equal(t, http.StatusAccepted, queued.status, "%s", queued.body)
	assert.Empty(t, queued.header.Get("Preference-Applied"), "nobody preferred it")

	// For all eyes and all screens.
	b.do(b.scheme("dark"))
	b.picture("dark")
	assert.NotEqual(t, "rgb(251, 251, 252)", b.text(`getComputedStyle(document.body).backgroundColor`))
	b.button("Use the light theme")
	assert.Equal(t, "rgb(251, 251, 252)", b.text(`getComputedStyle(document.body).backgroundColor`), "the reader's choice rules over the system's")
	b.do(chromedp.EmulateViewport(360, 740))
	b.picture("phone")
	assert.Equal(t, "true", b.text(`document.documentElement.scrollWidth <= 360`), "nothing is wider than the phone")
	assert.Empty(t, b.text(`[...document.querySelectorAll('button, input, select')].filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || (e.labels && e.labels.length))).map(e => e.outerHTML).join()`), "every control has a name")
	assert.Empty(t, b.text(`performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(location.origin)).join()`), "nothing comes from elsewhere")
}

// The API's reference is a page too: it opens, lists what there is, and loads nothing from elsewhere.
func TestTheReferenceOpensInABrowser(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	w := newWorld(t)
	s := w.start(t, w.AppURL, host.Limits{})
	b.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate("http://"+s.Addr()+"/docs/"))
	b.until(`document.body.textContent.includes('/api/v1/orders') && document.querySelectorAll('.opblock').length > 20`, "the operations are listed")
	b.text(`(document.querySelector('#operations-Orders-place-order .opblock-summary-control, [id*="place-order"] button').click(), '')`)
	b.until(`document.body.textContent.includes('Idempotency-Key')`, "one opens")
	b.picture("docs")
	assert.Empty(t, b.text(`performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(location.origin)).join()`), "nothing comes from elsewhere")
}
