from tests.tiny_models import make as make
from tests.tiny_models import plain as plain
from tests.tiny_models import source as source
from tests.tiny_models import tasks as tasks
from tests.tiny_models import tiny as tiny
