// A client of the old protocol: reads one PaymentRequest as JSON from standard input, writes the call's status as JSON.
//   node pay.mjs ADDRESS FOLDER_OF_PROTOS
import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const [address, protos] = process.argv.slice(2);
const definition = loadSync("payment/payment.proto", { includeDirs: [protos], keepCase: true });
const { PaymentService } = grpc.loadPackageDefinition(definition).payment;

const client = new PaymentService(address, grpc.credentials.createInsecure());
const request = JSON.parse(readFileSync(0, "utf8"));
client.Payment(request, { deadline: Date.now() + 30_000 }, (error) => {
  const code = error?.code ?? grpc.status.OK;
  console.log(JSON.stringify({ status: grpc.status[code], details: error?.details ?? "" }));
  client.close();
});
