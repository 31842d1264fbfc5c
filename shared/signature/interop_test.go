package signature_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/signature"
	"github.com/company/order-catalog-service/tests/kit/jswebhooks"
)

// event has what the two ends could encode differently: letters beyond ASCII, escapes, and spaces that a second
// marshalling would drop.
var event = []byte(`{"type": "order.created.v1", "data": {"name": "Zoë & Ж", "note": "\u003cb\u003e 😀"}}` + "\n")

// TestInteropGo: the published Go library and this package verify each other's signatures.
func TestInteropGo(t *testing.T) {
	t.Parallel()
	former, current, stranger := signature.NewSecret(), signature.NewSecret(), signature.NewSecret()
	now := time.Now()
	header := http.Header{}
	require.NoError(t, signature.Sign(header, "evt_1", now, event, current, former, signature.NewEd25519()))
	for key, verifies := range map[string]bool{current.Text(): true, former.Text(): true, stranger.Text(): false} {
		library, err := standardwebhooks.NewWebhook(key)
		require.NoError(t, err)
		err = library.Verify(event, header)
		assert.Equal(t, verifies, err == nil, "%v", err)
	}

	library, err := standardwebhooks.NewWebhook(current.Text())
	require.NoError(t, err)
	theirs, err := library.Sign("evt_2", now, event)
	require.NoError(t, err)
	header = http.Header{}
	header.Set(standardwebhooks.HeaderWebhookID, "evt_2")
	header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	header.Set(standardwebhooks.HeaderWebhookSignature, theirs)
	require.NoError(t, signature.Verify(header, event, now, current))
}

// TestInteropJavaScript: a receiver in Node verifies with the old secret, the new one and the public key.
func TestInteropJavaScript(t *testing.T) {
	t.Parallel()
	former, current, private := signature.NewSecret(), signature.NewSecret(), signature.NewEd25519()
	public, _ := private.PublicKey()
	other, _ := signature.NewEd25519().PublicKey()
	header := http.Header{}
	require.NoError(t, signature.Sign(header, "0190b8a0-0000-7000-8000-000000000001", time.Now(), event, current, former, private))
	stale := http.Header{}
	require.NoError(t, signature.Sign(stale, "evt_1", time.Now().Add(-signature.Tolerance-time.Minute), event, current))

	assert.Equal(t, []string{"", "", "", "No matching signature found", "No matching signature found", "No matching signature found", "Message timestamp too old"},
		jswebhooks.Verify(
			t,
			jswebhooks.Delivery{Key: former.Text(), Header: header, Body: event},
			jswebhooks.Delivery{Key: current.Text(), Header: header, Body: event},
			jswebhooks.Delivery{Key: public.Text(), Header: header, Body: event},
			jswebhooks.Delivery{Key: signature.NewSecret().Text(), Header: header, Body: event},
			jswebhooks.Delivery{Key: other.Text(), Header: header, Body: event},
			jswebhooks.Delivery{Key: current.Text(), Header: header, Body: event[:len(event)-1]},
			jswebhooks.Delivery{Key: current.Text(), Header: stale, Body: event},
		))
}
