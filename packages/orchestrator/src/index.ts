export { planService } from "./service-plan.ts";
