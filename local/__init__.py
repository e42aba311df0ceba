"""The manifests of knative/, eventing/ and istio/ on one machine (DESIGN §7)."""
