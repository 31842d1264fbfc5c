package signature_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/company/order-catalog-service/shared/signature"
)

// A secret was rotated: the delivery is signed with both, and a receiver that still has the old one verifies it.
func Example() {
	former, _ := signature.ParseKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	current := signature.NewSecret()

	body, now := []byte(`{"type":"order.created.v1"}`), time.Now()
	header := http.Header{}
	if err := signature.Sign(header, "evt_2KWPBgLlAfxdpx2AI54pPJ85f4W", now, body, current, former); err != nil {
		fmt.Println(err)
	}

	fmt.Println(signature.Verify(header, body, now, former))
	fmt.Println(signature.Verify(header, []byte(`{"type":"order.cancelled.v1"}`), now, former))
	// Output:
	// <nil>
	// no signature fits: another secret, or the body isn't byte for byte what was signed
}
