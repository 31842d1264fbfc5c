package servicebus_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

const queue = servicebus.QueueOrderRequests

func TestOpenSaysWhatIsWrongAndNeverTheKey(t *testing.T) {
	t.Parallel()
	for _, o := range []servicebus.Options{
		{ConnectionString: "Endpoint=sb://x;SharedAccessKey=s3cret"},
		{ConnectionString: "s3cret"},
		{ConnectionString: "Endpoint=not a url s3cret;SharedAccessKeyName=n;SharedAccessKey=s3cret"},
		{Namespace: "https://shop.servicebus.windows.net/"},
		{},
	} {
		_, err := servicebus.Open(o)
		require.ErrorContains(t, err, "SERVICEBUS_CONNECTION", "%+v", o)
		assert.NotContains(t, err.Error(), "s3cret")
	}
	_, err := servicebus.Open(servicebus.Options{Namespace: "shop.servicebus.windows.net", ClientID: "00000000-0000-0000-0000-000000000001"})
	assert.NoError(t, err, "an identity is asked when something is sent, not before")
}

func messages(n, size int) (list []servicebus.Message) {
	for i := range n {
		list = append(list, servicebus.Message{ID: fmt.Sprint(i), Body: []byte(strings.Repeat("x", size))})
	}
	return list
}

func TestSendTellsHowFarItCame(t *testing.T) {
	t.Parallel()
	b := kit.NewBroker(t)
	sender := b.Client(t).Sender(queue)
	n, err := sender.Send(t.Context(), messages(300, 2<<10)) // more than two batches
	require.NoError(t, err)
	assert.Equal(t, 300, n)

	list := messages(3, 10)
	list[1].Body = make([]byte, standin.MaxMessageSize)
	n, err = sender.Send(t.Context(), list)
	require.ErrorIs(t, err, servicebus.ErrRefused)
	assert.Equal(t, 1, n, "those before the one at fault are with the broker")

	require.NoError(t, b.FailSends(queue, standin.Fault{Condition: "com.microsoft:server-busy", Times: 10}))
	n, err = sender.Send(t.Context(), messages(2, 10))
	require.Error(t, err)
	assert.NotErrorIs(t, err, servicebus.ErrRefused)
	assert.Zero(t, n)
	n, err = sender.Send(t.Context(), nil)
	require.NoError(t, err)
	assert.Zero(t, n)
	depth, _ := b.Depth(queue)
	assert.Equal(t, 301, depth.Active)
}

func TestAMessageMayWait(t *testing.T) {
	t.Parallel()
	b := kit.NewBroker(t)
	_, err := b.Client(t).Sender(queue).Send(t.Context(), []servicebus.Message{{ID: "later", Body: []byte("x"), At: time.Now().Add(time.Hour)}})
	require.NoError(t, err)
	depth, _ := b.Depth(queue)
	assert.Equal(t, 1, depth.Scheduled)
	assert.Zero(t, depth.Active)
}
